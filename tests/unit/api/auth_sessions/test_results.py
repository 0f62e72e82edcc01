"""How an operation on an AuthSession stands: each answer of docs/contract.md, section 7.2, and whose it is."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from callboard.schemas.workflow.run import RunOutcome, RunStatus, RunType
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE

PATHS = {
    RunType.AUTH_SESSION_CREATE: "/create/{}/result",
    RunType.AUTH_SESSION_UPDATE: "/anna/update/{}/result",
    RunType.AUTH_SESSION_RECORD: "/record/{}/result",
    RunType.AUTH_SESSION_VALIDATE: "/anna/validate/{}/result",
}
ERROR = {
    "code": "create-attempts-failed",
    "category": "auth",
    "message": "No.",
    "retirable": False,
    "details": {"x": None},
}
REASON = {"type": "cancelled-user-action", "message": "Ended."}
COMPLETED = RunOutcome(status=RunStatus.COMPLETED)
FAILED = RunOutcome.model_validate({"status": RunStatus.FAILED, "error": ERROR})
CANCELED = RunOutcome.model_validate({"status": RunStatus.CANCELED, "reason": REASON})

Result = Callable[[str], Awaitable[httpx.Response]]


@pytest.fixture
def call(api: Api) -> Callable[..., Awaitable[httpx.Response]]:
    async def call(method: str, path: str, body: Any = None, project: str = "members") -> httpx.Response:
        url = f"/api/v1/workspace/{WORKSPACE}/projects/{project}/auth-sessions{path}"
        return await api.client.request(method, url, json=body)

    return call


def a_run(api: Api, kind: RunType, status: RunStatus, outcome: RunOutcome | None = None) -> None:
    api.runs.logins["members", "op-1"] = RunState("op-1", status, outcome, kind, "anna")


@pytest.mark.parametrize("kind", PATHS)
@pytest.mark.parametrize(
    ("status", "outcome", "answer"),
    [
        (RunStatus.PENDING, None, {"status": "pending"}),
        (RunStatus.STARTED, None, {"status": "in_progress", "runId": "op-1"}),
        (RunStatus.COMPLETED, COMPLETED, {"status": "done", "authSessionId": "anna"}),
        (RunStatus.FAILED, FAILED, {"status": "failed", "message": "No.", "error": ERROR}),
        (RunStatus.CANCELED, CANCELED, {"status": "canceled", "message": "Ended.", "reason": REASON}),
    ],
)
async def test_each_status_of_its_run_is_one_of_the_union(
    api: Api, call: Any, kind: RunType, status: RunStatus, outcome: RunOutcome | None, answer: Any
):
    a_run(api, kind, status, outcome)
    got = await call("GET", PATHS[kind].format("op-1"))
    assert got.status_code == 200
    assert got.json() == answer


@pytest.mark.parametrize("kind", RunType)
async def test_an_operation_of_another_kind_or_auth_session_is_404(api: Api, call: Any, kind: RunType):
    a_run(api, kind, RunStatus.STARTED)
    for its, path in PATHS.items():
        assert (await call("GET", path.format("op-1"))).status_code == (200 if its is kind else 404)
    assert (await call("GET", "/otto/update/op-1/result")).status_code == 404


async def test_an_operation_is_pending_from_the_answer_to_its_start_on(api: Api, call: Any):
    body = {"id": "anna", "parameters": {}}
    create = (await call("POST", "/create", body)).json()["operationId"]
    update = (await call("POST", "/anna/update", {"parameters": {}})).json()["operationId"]
    assert (await call("GET", f"/create/{create}/result")).json() == {"status": "pending"}
    assert (await call("GET", f"/anna/update/{update}/result")).json() == {"status": "pending"}
    for path in (f"/create/{update}", f"/anna/update/{create}", f"/otto/update/{update}", f"/anna/validate/{update}"):
        assert (await call("GET", f"{path}/result")).status_code == 404


@pytest.mark.parametrize("ended", [COMPLETED, FAILED])
async def test_an_ended_operation_is_in_progress_until_taken_up(api: Api, call: Any, ended: RunOutcome):
    """So what is read of the AuthSession after `done` or `failed` is true."""
    a_run(api, RunType.AUTH_SESSION_CREATE, ended.status, ended)
    api.add_auth_session(pending_run_id="op-1")
    assert (await call("GET", "/create/op-1/result")).json() == {"status": "in_progress", "runId": "op-1"}
    api.add_auth_session(pending_run_id=None)
    assert (await call("GET", "/create/op-1/result")).json()["status"] in {"done", "failed"}


async def test_one_whose_auth_session_went_before_it_began_is_canceled(api: Api, call: Any):
    operation = (await call("POST", "/create", {"id": "anna", "parameters": {}})).json()["operationId"]
    assert (await call("DELETE", "/anna")).status_code == 204
    answer = (await call("GET", f"/create/{operation}/result")).json()
    assert (answer["status"], answer["reason"]["type"]) == ("canceled", "cancelled-user-action")
    assert answer["message"] == answer["reason"]["message"]
