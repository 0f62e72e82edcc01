"""Lists of Runs, and all that is known of one."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from callboard.schemas.workflow.auth_session import CreateInput, LoginSpec, ValidateInput
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import (
    ErrorCode,
    RunCause,
    RunError,
    RunOutcome,
    RunReason,
    RunStatus,
    RunType,
    TraceMode,
)
from callboard.security.apikeys import operator_of
from callboard.storage import object_keys
from callboard.temporal.listing import RunFilter, RunPage
from callboard.temporal.run_queries import ValidateListItem
from callboard.temporal.runs import RunState
from tests.support.api_in_process import KEY, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.in_memory_temporal import BEGAN, line

RUNS = f"/api/v1/workspace/{WORKSPACE}/projects/shop/runs"
PROXY = "http://anna:hunter2@proxy.example.com:3128"


# Lists.


PENDING: dict[str, Any] = {
    "type": "api",
    "status": "pending",
    "api": "list",
    "project": "shop",
    "version": "0123456789abcdef",
    "authSessionId": None,
    "parentRunId": None,
    "jobId": None,
    "jobRunId": None,
    "tags": [],
    "createdAt": "2026-11-24T10:00:00Z",
    "startedAt": None,
    "endedAt": None,
    "attemptCount": 0,
    "handoff": None,
    "error": None,
    "reason": None,
}
"""What is told of a Run of `list` that waits, but for its id."""


async def test_a_list_has_a_line_for_each_run(api: Api):
    failed = RunCause(code="api-attempts-failed", message="the price is missing")
    canceled = RunCause(code="cancelled-user-action", message="The Run was canceled by request.")
    api.run_queries.answer = RunPage(
        (
            line(
                "run-1",
                started_at=BEGAN,
                status=RunStatus.STARTED,
                attempts=2,
                auth_session_id="anna",
                tags=("a", "b"),
                parameters='{"q": "caf\\u00e9", "password": "hunter2 is cut',
            ),
            line("run-2", ended_at=BEGAN + timedelta(seconds=1.5), status=RunStatus.FAILED, cause=failed),
            line("run-3-v1", type=RunType.AUTH_SESSION_VALIDATE, api=None, parent_run_id="run-3"),
            line("run-4", status=RunStatus.CANCELED, cause=canceled),
        ),
        None,
    )
    answer = await api.ask("runs")
    assert api.run_queries.asked == [(RunFilter(), 50, None)], "without filters all are meant, and fifty of them"
    assert answer["nextCursor"] is None
    assert answer["runs"][0] == {
        **PENDING,
        "runId": "run-1",
        "status": "started",
        "authSessionId": "anna",
        "tags": ["a", "b"],
        "startedAt": "2026-11-24T10:00:00Z",
        "attemptCount": 2,
        "waitsUntil": None,
        "parametersInShort": '{"q": "café", "password": "***"',
        "resultInShort": "",
    }
    second, third, fourth = answer["runs"][1:]
    assert (second["error"], second["reason"]) == ({"code": failed.code, "message": failed.message}, None)
    assert second["endedAt"] == "2026-11-24T10:00:01.500000Z"
    assert (third["type"], third["api"], third["parentRunId"]) == ("auth-session-validate", None, "run-3")
    assert (fourth["error"], fourth["reason"]) == (None, {"type": canceled.code, "message": canceled.message})


async def test_filters_reach_the_engine_with_all_their_values(api: Api):
    query = {
        "status": ["failed", "canceled", "failed"],
        "type": "api",
        "api": ["list", "it's"],
        "authSession": ["anna@shop"],
        "jobId": ["nightly"],
        "jobRunId": ["jr_1", "jr_2"],
        "errorCode": ["api-attempts-failed"],
        "tag": ["nightly", "team:a/b"],
        "q": "V1St",
        "startedAfter": "2026-11-24T11:00:00+01:00",
        "startedBefore": "2026-11-24T12:00:00.5Z",
        "limit": 200,
    }
    await api.ask("runs", params=query)
    wanted = RunFilter(
        statuses=frozenset({RunStatus.FAILED, RunStatus.CANCELED}),
        types=frozenset({RunType.API}),
        apis=frozenset({"list", "it's"}),
        auth_sessions=frozenset({"anna@shop"}),
        jobs=frozenset({"nightly"}),
        job_runs=frozenset({"jr_1", "jr_2"}),
        error_codes=frozenset({ErrorCode.API_ATTEMPTS_FAILED}),
        tags=frozenset({"nightly", "team:a/b"}),
        id_prefix="V1St",
        created_after=BEGAN,
        created_before=datetime(2026, 11, 24, 12, 0, 0, 500_000, UTC),
    )
    assert api.run_queries.asked == [(wanted, 200, None)]


@pytest.mark.parametrize(
    ("query", "path", "words"),
    [
        ({"status": "FAILED"}, "status[0]", "one of pending, started, completed, failed, canceled"),
        ({"status": ["failed", "x"]}, "status[1]", "one of pending"),
        ({"type": "job"}, "type[0]", "one of api, auth-session-validate"),
        *(({"limit": limit}, "limit", "1 to 200") for limit in ("0", "201", "many")),
        ({"startedAfter": "2026-11-24T10:00:00"}, "startedAfter", "a time with its zone"),
        ({"startedBefore": "yesterday"}, "startedBefore", "a time with its zone"),
        ({"startedAfter": "0001-01-01T00:00:00+14:00"}, "startedAfter", "from year 1 to 9999 in UTC"),
        ({"startedBefore": "9999-12-31T23:59:59-14:00"}, "startedBefore", "from year 1 to 9999 in UTC"),
        ({"api": ""}, "api[0]", "a name"),
        ({"api": ["list", "a\0b"]}, "api[1]", "without control characters"),
        *(({"authSession": f"anna{each}"}, "authSession[0]", "without control characters") for each in "\0\n\x7f\x85"),
        ({"errorCode": "timeout"}, "errorCode[0]", "one of internal-server-error, script-process-crashed"),
        ({"tag": "two words"}, "tag[0]", "a tag of 1 to 64 characters"),
        ({"tag": [f"tag-{number}" for number in range(11)]}, "tag", "at most 10 tags"),
        ({"q": ""}, "q", "a name"),
        ({"offset": "5"}, "offset", "only known fields"),
        ({"started_after": "2026-11-24T10:00:00Z"}, "started_after", "only known fields"),
        *(({"cursor": cursor}, "cursor", "the nextCursor") for cursor in ("x" * 3000, "ä", "", "abcdefghijklmnop")),
    ],
)
async def test_a_list_that_cannot_be_is_refused_with_the_field(api: Api, query: dict[str, Any], path: str, words: str):
    answer = await api.ask("runs", status=400, params=query)
    assert answer["details"]["path"] == path
    assert words in answer["details"]["expected"]
    assert api.run_queries.asked == []


async def test_a_cursor_leads_to_the_next_page_of_the_same_list_only(api: Api):
    api.run_queries.answer = RunPage((line("run-1"),), b"7")
    query: dict[str, Any] = {"status": ["failed", "canceled"], "startedAfter": "2026-11-24T11:00:00+01:00"}
    cursor = (await api.ask("runs", params=query))["nextCursor"]
    same: dict[str, Any] = {"status": ["canceled", "failed"], "startedAfter": "2026-11-24T10:00:00Z", "limit": "7"}
    await api.ask("runs", params={**same, "cursor": cursor})
    assert api.run_queries.asked[-1][1:] == (7, b"7")
    others: tuple[dict[str, Any], ...] = ({}, {**query, "status": "failed"}, {**query, "api": "list"})
    for other in others:
        assert (await api.ask("runs", status=400, params={**other, "cursor": cursor}))["details"]["path"] == "cursor"
    await api.ask("runs", status=400, params={**query, "cursor": cursor[:-2]})


# One Run.


ANNA = RunAuth(
    ref=AuthSessionRef(id="anna@shop", type=AuthSessionType.CREDENTIALS, owner="anna@shop"),
    auto_recreate=True,
    check_attempts=1,
    create_attempts=2,
    request_timeout=timedelta(minutes=5),
    proxy=SealedProxy(server="http://proxy.example.com:3128"),
)


async def run_with(api: Api, **fields: Any) -> str:
    """Start a Run whose input has these fields as well; its id."""
    run_id = await api.run()
    entry = api.runs.entries[run_id]
    entry.input = entry.input.model_copy(update=fields)
    return run_id


async def test_a_run_is_told_with_its_input_and_a_link_and_what_it_waits_for(make_api: MakeApi):
    api: Api = await make_api(temporal_ui_url="http://127.0.0.1:8233/")
    run_id = await api.run(parameters={"n": 1.0, "big": 2**70}, retry={"maximumAttempts": 2}, requestTimeout=60)
    answer = await api.ask(f"runs/{run_id}")
    assert answer == {
        **PENDING,
        "runId": run_id,
        "input": {
            "api": "list",
            "parameters": {"n": 1.0, "big": 2**70},
            "retry": {"maximumAttempts": 2},
            "requestTimeout": 60,
            "saveTrace": True,
        },
        "rerunOf": None,
        "startedBy": operator_of(KEY).actor.model_dump(),
        "canceledBy": None,
        "reruns": [],
        "attempts": [],
        "validates": [],
        "deliveries": [],
        "waiting": {"ahead": 4, "machinesBusy": 2, "machines": 1, "paused": False, "preparing": False, "lease": None},
        "temporal": {
            "workflowId": run_id,
            "url": f"http://127.0.0.1:8233/namespaces/default/workflows/{run_id}/01a210ec-1fdd/history",
        },
        "openTelemetry": None,
    }
    api.runs.paused.add(run_id)
    answer = await api.ask(f"runs/{run_id}")
    assert (answer["status"], answer["waiting"]["paused"]) == ("pending", True)


@pytest.mark.parametrize(
    ("status", "hours", "waits"),
    [(RunStatus.STARTED, 1, True), (RunStatus.STARTED, -1, False), (RunStatus.CANCELED, 1, False)],
)
async def test_a_run_that_waits_between_attempts_says_how_and_until_when(
    api: Api, status: RunStatus, hours: int, waits: bool
):
    run_id = await api.run(retry={"initialInterval": "1h"})
    until = api.run_queries.waits_until = datetime.now(UTC) + timedelta(hours=hours)
    api.runs.logins["shop", run_id] = RunState(run_id, status)
    answer = await api.ask(f"runs/{run_id}")
    assert answer["waiting"] == ({"until": until.isoformat().replace("+00:00", "Z")} if waits else None)
    retry = {"initialInterval": 3600, "backoffCoefficient": 2, "maximumInterval": 86_400}
    assert answer["input"]["retry"] == {"maximumAttempts": 3, **retry}


async def test_where_no_worker_tells_of_machines_there_are_none_told(api: Api):
    run_id = await api.run()
    assert (await api.ask(f"runs/{run_id}"))["waiting"] == {
        "ahead": 4,
        "machinesBusy": 2,
        "machines": 1,
        "paused": False,
        "preparing": False,
        "lease": None,
    }
    api.fleet.state = None
    answer = await api.ask(f"runs/{run_id}")
    assert answer["waiting"] == {
        "ahead": 4,
        "machinesBusy": None,
        "machines": None,
        "paused": False,
        "preparing": False,
        "lease": None,
    }
    assert answer["temporal"] == {"workflowId": run_id, "url": None}


async def test_no_secret_of_the_input_is_told(api: Api):
    sink = {"type": "webhook", "url": "https://93.184.215.14/in?key=hunter2", "headers": {"authorization": "hunter2"}}
    run_id = await api.run(proxy=PROXY, sink=sink, saveTrace="on-failure")
    text = (await api.client.get(f"{RUNS}/{run_id}")).text
    assert "hunter2" not in text
    assert "anna" not in text
    given = json.loads(text)["input"]
    assert given["proxy"] == "http://***@proxy.example.com:3128"
    assert given["saveTrace"] == "on-failure"
    assert given["sink"] == {
        "type": "webhook",
        "url": "https://93.184.215.14/in?***",
        "headers": {"authorization": "***"},
        "skipOnFail": False,
        "apisToSend": None,
    }


async def test_the_auth_session_of_an_input_is_told_and_its_runtime_input_is_not(api: Api):
    answer = await api.ask(f"runs/{await run_with(api, auth=ANNA, trace=TraceMode.NEVER)}")
    stored = {
        "id": "anna@shop",
        "autoRecreate": True,
        "checkAttempts": 1,
        "createAttempts": 2,
        "requestTimeout": 300,
        "saveTrace": False,
        "proxy": "http://proxy.example.com:3128",
    }
    assert answer["input"]["authSession"] == stored
    assert answer["input"]["saveTrace"] is False
    runtime = ANNA.model_copy(update={"ref": ANNA.ref.model_copy(update={"type": AuthSessionType.RUNTIME})})
    answer = await api.ask(f"runs/{await run_with(api, auth=runtime)}")
    assert answer["input"]["authSession"] == {**stored, "runtimeInput": "***"}


async def test_the_runs_that_keep_a_login_good_tell_what_they_were_ordered_to_do(api: Api):
    ref = AuthSessionRef(id="anna", type=AuthSessionType.CREDENTIALS, owner="anna")
    proxy = SealedProxy(server="http://p.example.com:1", username="v1.sealed", password="v1.sealed")
    shared: dict[str, Any] = {
        "version": "0123456789abcdef",
        "create_attempts": 1,
        "check_attempts": 2,
        "request_timeout": timedelta(seconds=30.5),
        "proxy": proxy,
    }
    api.run_queries.inputs["validate"] = ValidateInput(
        workspace=WORKSPACE, project="shop", ref=ref, auto_recreate=False, **shared
    )
    made = LoginSpec(run_id="create", type=RunType.AUTH_SESSION_CREATE, parameters_key="secret-place", **shared)
    api.run_queries.inputs["create"] = CreateInput(
        workspace=WORKSPACE, project="shop", ref=ref, spec=made, login_version=1
    )
    for run_id, kind in (("validate", RunType.AUTH_SESSION_VALIDATE), ("create", RunType.AUTH_SESSION_CREATE)):
        api.runs.logins["shop", run_id] = RunState(run_id, RunStatus.STARTED, type=kind, auth_session_id="anna")
    timing = {"createAttempts": 1, "checkAttempts": 2, "requestTimeout": 30.5, "saveTrace": False}
    validate, create = await api.ask("runs/validate"), await api.ask("runs/create")
    assert validate["input"] == {"autoRecreate": False, **timing, "proxy": "http://***@p.example.com:1"}
    assert create["input"] == {"id": "anna", "parameters": "***", **timing, "proxy": "http://***@p.example.com:1"}
    assert (validate["type"], validate["waiting"]) == ("auth-session-validate", None)


async def test_a_run_that_completed_has_its_result_byte_for_byte(api: Api):
    run_id = await api.run()
    text = '{"n":1.0,"half":"\\ud800","big":123456789012345678901234567890}'
    result, payloads = JsonRef(text=text, size=len(text)), JsonRef(text="[]", size=2)
    api.runs.end(run_id, RunOutcome(status=RunStatus.COMPLETED, result=result, extended_payloads=payloads, attempts=1))
    body = (await api.client.get(f"{RUNS}/{run_id}")).text
    assert f'"result":{text}' in body
    answer = json.loads(body)
    assert (answer["status"], answer["extendedPayloads"], answer["waiting"]) == ("completed", [], None)


async def test_a_run_that_failed_or_was_canceled_says_why_in_full(api: Api):
    failed, canceled = await api.run(), await api.run()
    details = {"attempts_count": 1, "last_error": {"code": "script-timeout"}}
    error = RunError(code=ErrorCode.API_ATTEMPTS_FAILED, category="execution", message="m" * 900, details=details)
    api.runs.end(failed, RunOutcome(status=RunStatus.FAILED, error=error, attempts=1))
    reason = {"type": "auth-session-validate-dependency-failed", "message": "no", "details": {"validateRunId": "x"}}
    api.runs.end(canceled, RunOutcome(status=RunStatus.CANCELED, reason=RunReason.model_validate(reason)))
    answer = await api.ask(f"runs/{failed}")
    assert (answer["error"]["message"], answer["error"]["details"]) == ("m" * 900, details)
    assert "result" not in answer
    assert (await api.ask(f"runs/{canceled}"))["reason"] == reason


async def test_big_parameters_come_from_the_store(api: Api):
    run_id = await api.run(parameters={"text": "é" * 100_000})
    assert (await api.ask(f"runs/{run_id}"))["input"]["parameters"] == {"text": "é" * 100_000}
    (key,) = [key async for key in api.store.list(f"{object_keys.run('shop', run_id)}parameters-")]
    await api.store.delete(key)
    assert "not in the artifact store" in (await api.ask(f"runs/{run_id}", status=500))["message"]


async def test_the_validates_of_a_run_are_told_with_their_attempts(api: Api):
    run_id = await run_with(api, auth=ANNA)
    first = line(f"{run_id}-v1", status=RunStatus.COMPLETED)
    second = replace(first, run_id=f"{run_id}-v12", status=RunStatus.FAILED)
    api.run_queries.validated = [ValidateListItem(first, "create-1"), ValidateListItem(second, None)]
    assert (await api.ask(f"runs/{run_id}"))["validates"] == [
        {"runId": f"{run_id}-v1", "attempt": 1, "status": "completed", "createRunId": "create-1"},
        {"runId": f"{run_id}-v12", "attempt": 12, "status": "failed", "createRunId": None},
    ]
