"""Words of later versions: Callboard shows them as they are, and keeps to its words in answers of the contract."""

from typing import Any

import pytest
from intuned_client import AsyncIntunedClient

from callboard.schemas.rest.run_result import ResultResponse
from callboard.schemas.rest.runs import RunBody, RunList
from callboard.schemas.workflow.attempt import AttemptRecord
from callboard.schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.delivery import DeliveryOutcome
from callboard.schemas.workflow.run import RunCause, RunOutcome, RunStatus, RunType
from callboard.storage import object_keys
from callboard.temporal.deliveries import DeliveryState
from callboard.temporal.listing import RunPage
from callboard.temporal.run_queries import ValidateListItem
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.dashboard_client import signed_in_client
from tests.support.in_memory_temporal import line

ERROR = {"code": "out-of-fuel", "category": "weather", "message": "No fuel.", "retirable": True, "details": {"l": 0}}
REASON = {"type": "out-of-season", "message": "It is winter."}


def ended(**fields: Any) -> RunOutcome:
    """An outcome as a later version wrote it."""
    return RunOutcome.model_validate({"status": "parked", **fields})


async def test_a_run_is_shown_with_the_words_that_were_recorded(api: Api):
    run_id = await api.run(sink={"type": "webhook", "url": "https://93.184.215.14/"})
    api.runs.end(run_id, ended(error=ERROR))
    record = {"run_id": run_id, "number": 1, "kind": "rehearsal", "status": "postponed", "error": ERROR}
    attempt = AttemptRecord.model_validate(record)
    await api.store.put(object_keys.attempt("shop", run_id, 1, "attempt.json"), attempt.model_dump_json().encode())
    status = DeliveryOutcome.model_validate({"status": "on-its-way"}).status
    api.deliveries.known[run_id] = [DeliveryState("sink", {"type": "webhook"}, status)]
    body = await api.ask(f"runs/{run_id}")
    RunBody.model_validate(body)
    assert (body["status"], body["error"]) == ("parked", ERROR)
    (told,) = body["attempts"]
    assert (told["kind"], told["status"]) == ("rehearsal", "postponed")
    assert (told["error"]["code"], told["error"]["category"]) == ("out-of-fuel", "weather")
    assert [delivery["status"] for delivery in body["deliveries"]] == ["on-its-way"]
    client = await signed_in_client(api)
    page = (await client.get(f"/projects/shop/runs/{run_id}")).text
    assert all(word in page for word in ("parked", "out-of-fuel", "postponed", "on-its-way"))
    canceled = await api.run()
    api.runs.end(canceled, ended(reason=REASON))
    body = await api.ask(f"runs/{canceled}")
    RunBody.model_validate(body)
    assert (body["status"], body["reason"]) == ("parked", REASON)


async def test_lists_show_the_words_that_were_recorded(api: Api):
    status, kind = RunStatus("parked"), RunType("rehearsal")
    failed = RunCause(code="out-of-fuel", message="No fuel.")
    api.run_queries.answer = RunPage(
        (
            line("run-1", status=status, type=kind, cause=RunCause(code="out-of-season", message="It is winter.")),
            line("run-2", status=RunStatus.FAILED, cause=failed),
        ),
        None,
    )
    body = await api.ask("runs")
    RunList.model_validate(body)
    assert [(run["status"], run["type"]) for run in body["runs"]] == [("parked", "rehearsal"), ("failed", "api")]
    assert body["runs"][0]["reason"]["type"] == "out-of-season"
    assert body["runs"][1]["error"]["code"] == "out-of-fuel"
    client = await signed_in_client(api)
    page = (await client.get("/projects/shop/runs")).text
    assert all(word in page for word in ("parked", "out-of-season", "out-of-fuel"))


async def test_a_validate_is_shown_with_the_word_that_was_recorded(api: Api):
    start = {"api": "list", "parameters": {}, "authSession": {"runtimeInput": {}}}
    run_id = (await api.ask("run/start", "members", method="POST", status=201, json=start))["runId"]
    api.run_queries.validated = [ValidateListItem(line(f"{run_id}-v1", "members", status=RunStatus("parked")), None)]
    body = await api.ask(f"runs/{run_id}", "members")
    assert [each["status"] for each in body["validates"]] == ["parked"]


@pytest.mark.parametrize("query", ["status=parked", "type=rehearsal"])
async def test_a_filter_takes_known_words_only(api: Api, query: str):
    assert "expected one of" in (await api.ask(f"runs?{query}", status=400))["message"]


# Answers of the contract.


async def test_an_error_is_told_in_words_of_the_contract(api: Api):
    run_id = await api.run()
    api.runs.end(run_id, ended(status="failed", error=ERROR))
    body = await api.ask(f"run/{run_id}/result")
    ResultResponse.model_validate(body)
    assert body["status"] == "failed"
    recorded = {"code": "out-of-fuel", "category": "weather"}
    words = {"code": "unexpected", "category": "infrastructure", "details": {"l": 0, "recorded": recorded}}
    assert body["error"] == {**ERROR, **words}


@pytest.mark.parametrize(
    ("fields", "status", "word"),
    [
        ({"error": ERROR}, "failed", "unexpected"),
        ({"reason": REASON}, "canceled", "terminated"),
        ({"result": {"text": "1", "size": 1}}, "completed", None),
        ({}, "failed", "unexpected"),
    ],
)
async def test_the_published_client_reads_ends_of_later_versions(
    api: Api, client: AsyncIntunedClient, fields: dict[str, Any], status: str, word: str | None
):
    run_id = await api.run()
    api.runs.end(run_id, ended(**fields))
    answer = await client.projects.runs.result(project_name="shop", run_id=run_id)
    told = answer.model_dump(mode="json")
    assert told["status"] == status
    cause = told.get("error") or told.get("reason")
    assert (cause and (cause.get("code") or cause["type"])) == word
    if cause is not None:
        assert cause["details"]["recorded"]["status"] == "parked"
        assert fields or '"parked"' in cause["message"]


@pytest.mark.parametrize(
    ("fields", "status"), [({"error": ERROR}, "failed"), ({"reason": REASON}, "canceled"), ({}, "failed")]
)
async def test_an_operation_is_told_in_words_of_the_contract(api: Api, fields: dict[str, Any], status: str):
    outcome, operation = ended(**fields), "V1StGXR8_Z5jdHi6B-myT"
    state = RunState(operation, outcome.status, outcome, RunType.AUTH_SESSION_VALIDATE, "anna")
    api.add_auth_session()
    api.runs.logins["members", operation] = state
    told = await api.ask(f"auth-sessions/anna/validate/{operation}/result", "members")
    assert told["status"] == status


async def test_the_api_maps_unknown_words_of_an_auth_session_and_pages_show_them(api: Api):
    api.add_auth_session(type="BORROWED", status="RESTING")
    body = await api.ask("auth-sessions/anna", "members")
    assert (body["type"], body["status"]) == (AuthSessionType.RECORDER, AuthSessionStatus.EXPIRED)
    client = await signed_in_client(api)
    page = (await client.get("/projects/members/auth-sessions")).text
    assert "BORROWED" in page
    assert "resting</span>" in page
