"""Many Runs at once: which they are, and who may ask for it."""

from typing import Any

import pytest

from callboard.schemas.rest.bulk import MOST_RUNS
from callboard.schemas.workflow.bulk import BulkAction
from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.temporal.listing import RunPage
from tests.support.api_in_process import Api
from tests.support.in_memory_temporal import line

OPEN = {RunStatus.PENDING, RunStatus.STARTED}


async def bulk(api: Api, action: str, wanted: Any, status: int = 202, **fields: Any) -> Any:
    return await api.ask(f"runs/bulk/{action}", method="POST", status=status, json={"filter": wanted, **fields})


async def test_all_that_the_filter_matches_is_handed_on_once(api: Api):
    runs = (line("run-1"), line("run-2"), line("run-1-v1", parent_run_id="run-1"), line("run-2"), line("run-3"))
    api.run_queries.answer = RunPage(runs, None)  # one has ended while they were read
    answer = await bulk(api, "rerun", {"status": ["failed", "canceled"], "api": "list"})
    (started,) = api.bulks.started
    assert answer == {"id": started.bulk_id, "matched": 3}
    assert (started.run_ids, started.view.action, started.view.matched) == (("run-1", "run-2", "run-3"), "rerun", 3)
    assert (started.requester.key, started.requester.signed_in) == (started.view.requested_by, False)
    told = await api.ask(f"runs/bulk/{answer['id']}")
    assert (told["status"], told["matched"], told["done"], told["failed"]) == ("running", 3, 0, [])
    assert told["requestedBy"] == started.requester.key.model_dump()


async def test_runs_that_are_named_are_handed_on_also_if_it_cannot_be_done_with_them(api: Api):
    validates = [line(f"run-{name}-v1", parent_run_id=f"run-{name}") for name in ("1", "gone")]
    ended = line("run-2", status=RunStatus.COMPLETED)
    api.run_queries.answer = RunPage((line("run-1"), *validates, ended), None)
    await bulk(api, "cancel", {"runId": ["run-1", "run-1-v1", "run-gone-v1", "run-2"]})
    (started,) = api.bulks.started
    assert started.run_ids == ("run-1", "run-gone-v1", "run-2"), "a Validate ends with its Run"


@pytest.mark.parametrize(
    ("action", "wanted", "statuses", "types"),
    [
        (BulkAction.CANCEL, {"api": "list"}, OPEN, set[RunType]()),
        (BulkAction.CANCEL, {"status": ["failed", "pending"]}, {RunStatus.PENDING}, set[RunType]()),
        (BulkAction.CANCEL, {"runId": ["run-1"]}, set[RunStatus](), set[RunType]()),
        (BulkAction.RERUN, {"runId": "run-1"}, set[RunStatus](), set[RunType]()),
        (BulkAction.RERUN, {"status": "failed"}, {RunStatus.FAILED}, {RunType.API}),
        (BulkAction.RERUN, {"type": ["api", "auth-session-create"]}, set[RunStatus](), {RunType.API}),
    ],
)
async def test_runs_with_which_it_cannot_be_done_are_not_meant(
    api: Api, action: str, wanted: Any, statuses: set[RunStatus], types: set[RunType]
):
    await bulk(api, action, wanted)
    (meant, _, _) = api.run_queries.asked[0]
    assert (meant.statuses, meant.types) == (statuses, types)


@pytest.mark.parametrize(
    ("action", "wanted", "told"),
    [
        ("cancel", {}, "at least one field"),
        ("rerun", {"status": [], "tag": []}, "at least one field"),
        ("cancel", {"status": "failed"}, "filter.status: expected pending or started"),
        ("rerun", {"type": "auth-session-validate"}, "filter.type: expected api"),
        ("rerun", {"status": "gone"}, "filter.status[0]"),
        ("rerun", {"cursor": "x", "status": "failed"}, "filter.cursor"),
        ("rerun", {"runId": ["r"] * 1_001}, "filter.runId"),
        ("rerun", {"api": "a\u0000"}, "filter.api[0]"),
        ("rerun", "status=failed", "filter"),
    ],
)
async def test_what_is_no_filter_is_refused_and_nothing_is_looked_for(api: Api, action: str, wanted: Any, told: str):
    answer = await bulk(api, action, wanted, 400)
    assert told in answer["message"]
    assert (api.bulks.started, api.run_queries.asked) == ([], [])


async def test_a_dry_run_counts_and_leaves_nothing(api: Api):
    api.run_queries.answer = RunPage((line("run-1"), line("run-2")), None)
    before = await api.stored("audit/")
    assert await bulk(api, "rerun", {"status": "failed"}, 200, dryRun=True) == {"matched": 2}
    assert api.bulks.started == []
    assert await api.stored("audit/") == before


async def test_the_same_request_with_an_idempotency_key_is_handled_once(api: Api):
    async def ask(action: str, wanted: Any, status: int = 202) -> Any:
        body = {"filter": wanted}
        headers = {"idempotency-key": "k-1"}
        return await api.ask(f"runs/bulk/{action}", method="POST", status=status, json=body, headers=headers)

    api.run_queries.answer = RunPage((line("run-1"),), None)
    first = await ask("rerun", {"status": "failed"})
    api.run_queries.answer = RunPage((line("run-1"), line("run-2")), None)
    assert await ask("rerun", {"status": ["failed"]}) == first == {"id": first["id"], "matched": 1}
    api.run_queries.answer = RunPage(tuple(line(f"run-{number}") for number in range(MOST_RUNS + 1)), None)
    assert await ask("rerun", {"status": ["failed", "failed"]}) == first, "also if too many match now"
    await ask("rerun", {"status": "canceled"}, 409)
    await ask("cancel", {"status": "pending"}, 409)
    assert [bulk.bulk_id for bulk in api.bulks.started] == [first["id"]]


async def test_filters_that_mean_the_same_are_the_same_request(api: Api):
    answers = set[str]()
    for tags, since in ((["a", "b"], "2026-11-29T10:00:00Z"), (["b", "a"], "2026-11-29T12:00:00+02:00")):
        body = {"filter": {"tag": tags, "startedAfter": since}}
        headers = {"idempotency-key": "k-1"}
        answer = await api.ask("runs/bulk/rerun", method="POST", status=202, json=body, headers=headers)
        answers.add(answer["id"])
    assert len(answers) == 1


async def test_more_than_may_be_handled_at_once_are_refused(api: Api):
    api.run_queries.answer = RunPage(tuple(line(f"run-{number}") for number in range(MOST_RUNS + 1)), None)
    answer = await bulk(api, "rerun", {"status": "failed"}, 400, dryRun=True)
    assert "more than 10000 Runs match" in answer["message"]


async def test_a_key_of_one_project_reaches_no_other(api: Api):
    bulk_id = await api.start_bulk()
    key = await api.make_key("runs:start", "runs:read", "runs:cancel", projects=["members"])
    headers = {"x-api-key": key}
    for method, place, body in (
        ("POST", "runs/bulk/cancel", {"filter": {"status": "pending"}}),
        ("POST", "runs/bulk/rerun", {"filter": {"status": "failed"}, "dryRun": True}),
        ("GET", f"runs/bulk/{bulk_id}", None),
        ("POST", f"runs/bulk/{bulk_id}/abort", None),
    ):
        await api.ask(place, method=method, status=404, headers=headers, json=body)
    for place in (bulk_id, f"..%2F..%2Fshop%2Fruns%2Fbulk%2F{bulk_id}", f"x:shop:{bulk_id}"):
        await api.ask(f"runs/bulk/{place}", "members", status=404, headers=headers)
    (started,) = api.bulks.started
    assert (started.project, api.bulks.aborted) == ("shop", {})
