"""A Run again: the same inputs, secrets sealed anew, and said in both."""

from datetime import timedelta
from typing import Any

import httpx
import pytest

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionType, RunAuth
from callboard.schemas.workflow.auth_session import ValidateInput
from callboard.schemas.workflow.run import RunInput, RunStatus, RunType, TraceMode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.storage import object_keys
from callboard.temporal.runs import RunState
from tests.support.api_in_process import SECRET, Api, MakeApi
from tests.support.constants import WORKSPACE
from tests.support.present import present

RUNS = f"/api/v1/workspace/{WORKSPACE}/projects/shop/runs"
SINK: dict[str, Any] = {
    "type": "webhook",
    "url": "https://93.184.215.14/in?key=hunter2",
    "headers": {"authorization": "Bearer hunter2"},
    "skipOnFail": True,
    "apisToSend": ["list"],
}
BUCKET: dict[str, Any] = {
    "type": "s3",
    "bucket": "results",
    "region": "eu-central-1",
    "prefix": "shop",
    "endpoint": "https://93.184.215.14",
    "forcePathStyle": True,
    "accessKeyId": "AKIA",
    "secretAccessKey": "hunter2",
}


async def again(api: Api, run_id: str, **headers: str) -> httpx.Response:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return await api.client.post(f"{RUNS}/{run_id}/rerun", headers=named)


async def rerun(api: Api, run_id: str, **headers: str) -> str:
    answer = await again(api, run_id, **headers)
    assert answer.status_code == 201, answer.text
    assert answer.json() == {"runId": answer.json()["runId"], "status": "pending", "rerunOf": run_id}
    return answer.json()["runId"]


def plain(run_input: RunInput, run_id: str) -> dict[str, Any]:
    """An order with what was sealed for its Run opened."""
    bound_to, ring = seal_context.run(WORKSPACE, "shop", run_id), KeyRing([SECRET])

    def opened(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: run_id_free(opened(item)) for name, item in value.items()}
        return ring.open(value, bound_to=bound_to) if isinstance(value, str) and value.startswith("cb1.") else value

    def run_id_free(value: Any) -> Any:
        return "<run>" if value == run_id else value

    return opened(run_input.model_dump())


async def test_a_run_again_is_ordered_the_same_and_both_say_so(api: Api):
    first = await api.run(
        parameters={"n": 1.5, "big": 2**70},
        retry={"maximumAttempts": 7, "initialInterval": "90s", "backoffCoefficient": 1.5, "maximumInterval": 7200.5},
        requestTimeout=77,
        queueTimeout=88,
        proxy="http://an%40na:hunter%3A2@proxy.example.com:3128",
        saveTrace="on-failure",
        tags=["b", "a"],
        sink=SINK,
    )
    second = await rerun(api, first)
    third = await rerun(api, second)
    for run_id in (second, third):
        assert plain(api.input_of(run_id), run_id) == plain(api.input_of(first), first)
        assert api.input_of(run_id).proxy != api.input_of(first).proxy, "it is sealed for its own Run"
    bucket = await api.run(sink=BUCKET)
    again_to_bucket = await rerun(api, bucket)
    assert plain(api.input_of(again_to_bucket), again_to_bucket) == plain(api.input_of(bucket), bucket)
    assert api.input_of(second).trace is TraceMode.ON_FAILURE
    assert api.input_of(second).queue_timeout == timedelta(seconds=88)
    assert api.input_of(second).tags == ("b", "a")
    assert (await api.ask(f"runs/{second}"))["input"]["queueTimeout"] == 88
    assert [(await api.ask(f"runs/{run_id}"))["rerunOf"] for run_id in (first, second, third)] == [None, first, second]
    assert [(await api.ask(f"runs/{run_id}"))["reruns"] for run_id in (first, second, third)] == [[second], [third], []]


async def test_a_rerun_waits_as_the_first_one_also_after_a_deploy(make_project_api: MakeApi):
    before = await make_project_api({})
    first = await before.run()
    waits = {"initialInterval": 60, "backoffCoefficient": 3, "maximumInterval": 600}
    after = await make_project_api({"defaults": {"retry": waits}}, runs=before.runs)
    second = await rerun(after, first)
    assert after.input_of(second).retry_intervals.initial_interval == timedelta()


async def test_big_parameters_are_copied_so_that_each_run_has_its_own(api: Api):
    given = {"text": "é" * 100_000}
    first = await api.run(parameters=given)
    second = await rerun(api, first)
    key, copy = (present(api.input_of(run_id).parameters.key) for run_id in (first, second))
    assert copy.startswith(object_keys.run("shop", second))
    await api.store.delete(key)
    assert (await api.ask(f"runs/{second}"))["input"]["parameters"] == given
    answer = await again(api, first)
    assert answer.status_code == 500
    assert "parameters" in answer.json()["message"]
    assert (await api.client.get(f"{RUNS}/{first}")).status_code == 500
    assert [key async for key in api.store.list(object_keys.reruns("shop", first))] == [
        object_keys.rerun("shop", first, second)
    ]


async def test_the_same_rerun_with_an_idempotency_key_is_one_run(api: Api):
    first, other = await api.run(), await api.run()
    second = await rerun(api, first, idempotency_key="k-1")
    assert await rerun(api, first, idempotency_key="k-1") == second
    assert (await api.ask(f"runs/{first}"))["reruns"] == [second]
    assert (await again(api, other, idempotency_key="k-1")).status_code == 409
    assert (await api.ask(f"runs/{other}"))["reruns"] == []
    assert await rerun(api, first, idempotency_key="k-2") != second
    assert (await again(api, first, idempotency_key="a b")).status_code == 400


async def test_a_rerun_that_is_refused_as_too_many_runs_wait_is_told_nowhere(make_project_api: MakeApi):
    api = await make_project_api({"replication": {"maxQueued": 8}})  # seven Runs wait, as this engine says
    first = await api.run()
    assert (await again(api, first)).status_code == 429
    assert (await api.ask(f"runs/{first}"))["reruns"] == []


def with_auth(kind: AuthSessionType, run_id: str) -> RunAuth:
    return RunAuth(
        ref=AuthSessionRef(id="anna", type=kind, owner="anna"),
        auto_recreate=True,
        check_attempts=1,
        create_attempts=2,
        request_timeout=timedelta(minutes=1),
        parameters_key=f"auth-sessions/shop/~{run_id}/parameters",
    )


async def test_a_run_whose_login_was_its_own_cannot_be_started_again(api: Api):
    run_id = await api.run()
    entry = api.runs.entries[run_id]
    entry.input = entry.input.model_copy(update={"auth": with_auth(AuthSessionType.RUNTIME, run_id)})
    answer = await again(api, run_id)
    assert (answer.status_code, answer.json()["code"]) == (409, "conflict")
    assert "runtimeInput" in answer.json()["message"]
    assert (await api.ask(f"runs/{run_id}"))["reruns"] == []


async def test_what_the_deployed_version_does_not_offer_any_more_is_not_started(api: Api):
    run_id = await api.run()
    entry = api.runs.entries[run_id]
    run_input = entry.input
    entry.input = run_input.model_copy(update={"api": "gone"})
    assert (await again(api, run_id)).status_code == 404
    entry.input = run_input.model_copy(update={"auth": with_auth(AuthSessionType.CREDENTIALS, run_id)})
    answer = await again(api, run_id)
    assert answer.json()["details"]["path"] == "authSession", "the project does not log in"
    assert (await api.ask(f"runs/{run_id}"))["reruns"] == []
    assert len(api.runs.entries) == 1


async def test_only_runs_of_apis_are_started_again(api: Api):
    state = RunState("check", RunStatus.STARTED, type=RunType.AUTH_SESSION_VALIDATE, auth_session_id="anna")
    api.runs.logins["shop", "check"] = state
    api.run_queries.inputs["check"] = ValidateInput(
        workspace=WORKSPACE,
        project="shop",
        version="0123456789abcdef",
        ref=AuthSessionRef(id="anna", type=AuthSessionType.CREDENTIALS, owner="anna"),
        auto_recreate=True,
        check_attempts=1,
        create_attempts=1,
        request_timeout=timedelta(minutes=1),
    )
    answer = await again(api, "check")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-request")
    assert "AuthSession" in answer.json()["message"]


@pytest.mark.parametrize("failure", [Unavailable("Temporal did not answer."), RuntimeError("a defect")])
async def test_the_note_stays_where_the_new_run_may_have_been_started(api: Api, failure: Exception):
    run_id = await api.run()
    begin = api.runs.start

    async def start(*arguments: Any, **options: Any) -> bool:
        await begin(*arguments, **options)
        raise failure

    api.runs.start = start  # type: ignore[method-assign]
    assert (await again(api, run_id)).status_code in {500, 503}
    (new,) = set(api.runs.entries) - {run_id}
    assert (await api.ask(f"runs/{run_id}"))["reruns"] == [new]


async def test_a_proxy_of_the_projects_settings_needs_no_leave_to_be_used_again(make_project_api: MakeApi):
    api = await make_project_api({"proxy": {"deployed": "http://127.0.0.1:3128"}})
    assert present(api.input_of(await rerun(api, await api.run())).proxy).server == "http://127.0.0.1:3128"
