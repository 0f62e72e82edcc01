"""`callboard audit`: who has changed what, page by page, for people and as JSON."""

import json

import pytest

from callboard.cli import audit
from callboard.schemas.rest.audit import AuditEntry
from callboard.storage.audit_log import AuditLog
from tests.support.api_in_process import Api, MakeApi
from tests.support.commands import NOWHERE, Commands, callboard, error_of


@pytest.fixture
async def api(make_project_api: MakeApi) -> Api:
    """One with an audit of its own."""
    return await make_project_api({})


async def test_entries_are_listed_by_filters_until_there_are_enough(
    api: Api, cli: Commands, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(audit, "_PAGE", 1)
    run_ids = [await api.run() for _ in range(3)]
    await cli.said("runs", "cancel", run_ids[0], "-p", "shop")
    words = ("audit", "-l", "2", "--json", "-f", "project=shop", "-f", "action=run.start")
    first = json.loads(await cli.said(*words))
    assert [entry["ids"]["runId"] for entry in first["entries"]] == [run_ids[2], run_ids[1]]
    rest = json.loads(await cli.said(*words, "--cursor", first["nextCursor"]))
    assert [entry["ids"]["runId"] for entry in rest["entries"]] == [run_ids[0]]
    since = ("-f", f"since={first['entries'][0]['time']}")
    assert json.loads(await cli.said(*words, *since))["entries"] == first["entries"][:1]


async def test_people_see_who_was_refused_what_and_whose_client_has_left(api: Api, cli: Commands):
    run_id = await api.run()
    (entry,) = json.loads(await cli.said("audit", "--json"))["entries"]
    await AuditLog(api.store).write(AuditEntry.model_validate({**entry, "status": None}))
    reader = await api.make_key("runs:read")
    assert (await cli.error("jobs", "delete", "nightly", "-y", "-p", "shop", CALLBOARD_API_KEY=reader))[0] == 1
    _, refusal, *starts = (await cli.said("audit")).splitlines()
    assert "job.delete, the scope jobs is missing" in refusal
    for start in starts:
        assert all(words in start for words in ("run.start", f"operator ({entry['actor']['id']})", f"Run {run_id}"))
    assert ["client left" in start for start in sorted(starts)].count(True) == 1


def test_a_filter_that_entries_do_not_have_is_refused():
    for wrong in ("who=me", "since>=2026-11-29T00:00:00Z", "project"):
        assert error_of(callboard("audit", "-f", wrong, **NOWHERE))[0] == 2
