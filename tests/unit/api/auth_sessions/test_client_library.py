"""The published client library drives the AuthSessions of Callboard: it sends what is taken, and reads every answer."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient, IntunedClient, models
from intuned_client.exceptions import AuthenticationError, NotFoundError, ServerError, ValidationError

from schemas.errors import Unavailable
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus, RunType
from schemas.workflow.trace import TraceMode
from temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.constants import WORKSPACE
from tests.support.present import present

CREATE = models.AuthSessionsCreateStartRequestBody
UPDATE = models.AuthSessionsUpdateStartRequestBody
VALIDATE = models.AuthSessionsValidateStartRequestBody


@pytest.fixture
async def client(served: str) -> AsyncGenerator[AsyncIntunedClient]:
    client = AsyncIntunedClient(
        api_key="test-key-number-one-of-two", workspace_id=WORKSPACE, base_url=f"{served}/api/v1/workspace", timeout=30
    )
    yield client
    await client.aclose()


def there_is(api: Api, name: str, status: AuthSessionStatus = AuthSessionStatus.READY) -> None:
    api.auth_sessions.known["members", name] = AuthSessionView.model_validate(
        {
            "id": name,
            "type": AuthSessionType.CREDENTIALS,
            "status": status,
            "created_at": "2026-11-25T00:00:00Z",
            "updated_at": "2026-11-25T00:00:00Z",
        }
    )


def a_run(
    api: Api, operation: str, kind: RunType, status: RunStatus, outcome: RunOutcome | None = None, name: str = "anna"
) -> None:
    api.runs.logins["members", operation] = RunState(operation, status, outcome, kind, name)


async def test_it_creates_reads_lists_and_deletes(api: Api, client: AsyncIntunedClient):
    sessions = client.projects.auth_sessions
    started = await sessions.create.start(
        project_name="members", body=CREATE.model_validate({"id": "anna@home+1", "parameters": {"password": "x"}})
    )
    assert started.status == "started"
    result = await sessions.create.result(project_name="members", operation_id=started.operation_id)
    assert result.status == "pending"
    one = await sessions.get(project_name="members", auth_session_id="anna@home+1")
    assert (one.id, one.type, one.status) == ("anna@home+1", "CREDENTIALS", "PENDING")
    assert [each.id for each in await sessions.list(project_name="members")] == ["anna@home+1"]
    await sessions.delete(project_name="members", auth_session_id="anna@home+1")
    with pytest.raises(NotFoundError):
        await sessions.get(project_name="members", auth_session_id="anna@home+1")


async def test_it_updates_and_validates(api: Api, client: AsyncIntunedClient):
    there_is(api, "anna@home")
    where = {"project_name": "members", "auth_session_id": "anna@home"}
    sessions = client.projects.auth_sessions
    updated = await sessions.update.start(**where, body=UPDATE.model_validate({"parameters": {}}))
    assert updated.status == "started"
    result = await sessions.update.result(**where, operation_id=updated.operation_id)
    assert result.status == "pending"
    validated = await sessions.validate.start(**where, body=VALIDATE.model_validate({}))
    assert validated.status == "pending"
    a_run(api, validated.operation_id, RunType.AUTH_SESSION_VALIDATE, RunStatus.STARTED, name="anna@home")
    running = await sessions.validate.result(**where, operation_id=validated.operation_id)
    assert isinstance(running, models.AuthSessionsValidateResultResponseValueInProgress)
    assert running.run_id == validated.operation_id


async def test_all_its_options_are_taken(api: Api, client: AsyncIntunedClient):
    options = {"create_attempts": 1, "check_attempts": 2, "save_trace": False, "proxy": "http://proxy.example:3128"}
    body = CREATE.model_validate({"parameters": {}, "id": "anna"}).model_copy(update=options)
    await client.projects.auth_sessions.create.start(project_name="members", body=body)
    workflow_input = present(api.auth_sessions.created[0].create)
    assert (workflow_input.create_attempts, workflow_input.check_attempts, workflow_input.trace) == (
        1,
        2,
        TraceMode.NEVER,
    )
    assert present(workflow_input.proxy).server == "http://proxy.example:3128"
    options = {"auto_recreate": False, "check_attempts": 2, "create_attempts": 1, "request_timeout": 5}
    started = await client.projects.auth_sessions.validate.start(
        project_name="members",
        auth_session_id="anna",
        body=VALIDATE.model_validate({}).model_copy(update=options),
    )
    validate = api.auth_sessions.validates[started.operation_id]
    assert (validate.auto_recreate, validate.check_attempts, validate.create_attempts) == (False, 2, 1)
    assert validate.request_timeout.total_seconds() == 5


@pytest.mark.parametrize("status", list(AuthSessionStatus))
async def test_it_reads_every_status_of_an_auth_session(api: Api, client: AsyncIntunedClient, status: Any):
    there_is(api, "anna", status)
    one = await client.projects.auth_sessions.get(project_name="members", auth_session_id="anna")
    assert one.status == status.value


async def test_it_reads_a_create_that_is_done(api: Api, client: AsyncIntunedClient):
    a_run(api, "op", RunType.AUTH_SESSION_CREATE, RunStatus.COMPLETED, RunOutcome(status=RunStatus.COMPLETED))
    answer = await client.projects.auth_sessions.create.result(project_name="members", operation_id="op")
    assert isinstance(answer, models.AuthSessionsCreateResultResponseValueDone)
    assert answer.auth_session_id == "anna"


@pytest.mark.parametrize("code", list(ErrorCode))
async def test_it_reads_every_error(api: Api, client: AsyncIntunedClient, code: ErrorCode):
    error = RunError(code=code, category="auth", message="No.", details={"attempts_count": 3})
    a_run(
        api,
        "op",
        RunType.AUTH_SESSION_UPDATE,
        RunStatus.FAILED,
        RunOutcome(status=RunStatus.FAILED, error=error),
    )
    answer = await client.projects.auth_sessions.update.result(
        project_name="members", auth_session_id="anna", operation_id="op"
    )
    assert isinstance(answer, models.AuthSessionsUpdateResultResponseValueFailed)
    ours = code is ErrorCode.QUEUE_TIMEOUT  # it is not in the published set
    published = "unexpected" if ours else code.value
    assert (answer.error.code, answer.error.message, answer.message) == (published, "No.", "No.")
    assert answer.error.details == {"attempts_count": 3} | ({"recorded": {"code": code.value}} if ours else {})


@pytest.mark.parametrize("reason", list(ReasonType))
async def test_it_reads_every_reason(api: Api, client: AsyncIntunedClient, reason: ReasonType):
    outcome = RunOutcome(status=RunStatus.CANCELED, reason=RunReason(type=reason, message="Ended."))
    a_run(api, "op", RunType.AUTH_SESSION_VALIDATE, RunStatus.CANCELED, outcome)
    answer = await client.projects.auth_sessions.validate.result(
        project_name="members", auth_session_id="anna", operation_id="op"
    )
    assert isinstance(answer, models.AuthSessionsValidateResultResponseValueCanceled)
    assert (answer.reason.type, answer.message) == (reason.value, "Ended.")


async def test_it_starts_a_run_with_a_stored_and_with_a_runtime_auth_session(api: Api, client: AsyncIntunedClient):
    there_is(api, "anna")
    stored = models.RunStartRequestBodyAuthSessionCredentialsBasedAuthSessionInput.model_validate({"id": "anna"})
    runtime = models.RunStartRequestBodyAuthSessionRuntimeBasedAuthSessionInput.model_validate(
        {"runtimeInput": {"username": "anna"}}
    )
    for auth_session, kind in ((stored, AuthSessionType.CREDENTIALS), (runtime, AuthSessionType.RUNTIME)):
        body = models.RunStartRequestBody.model_validate({"api": "list", "parameters": {}, "authSession": auth_session})
        started = await client.projects.runs.start(project_name="members", body=body)
        assert present(api.input_of(started.run_id).auth).ref.type is kind


async def test_its_exceptions_are_the_right_ones(api: Api, client: AsyncIntunedClient):
    sessions, body = client.projects.auth_sessions, CREATE.model_validate({"parameters": {}})
    with pytest.raises(NotFoundError):
        await sessions.create.result(project_name="members", operation_id="nope")
    with pytest.raises(NotFoundError):
        await sessions.update.start(
            project_name="members", auth_session_id="nope", body=UPDATE.model_validate({"parameters": {}})
        )
    with pytest.raises(NotFoundError):
        await sessions.list(project_name="nope")
    with pytest.raises(AuthenticationError):
        await sessions.create.start(project_name="closed-members", body=body)
    for project in ("shop", "recorded"):
        with pytest.raises(ValidationError):
            await sessions.create.start(project_name=project, body=body)
    with pytest.raises(ValidationError) as caught:
        await sessions.create.start(project_name="members", body=body.model_copy(update={"id": "ab"}))
    assert caught.value.body["details"]["path"] == "id"
    api.auth_sessions.failure = Unavailable("Temporal cannot be reached.")
    with pytest.raises(ServerError):
        await sessions.create.start(project_name="members", body=body)


async def test_its_synchronous_form_does_the_same(api: Api, served: str):
    def drive() -> list[str]:
        client = IntunedClient(
            api_key="test-key-number-one-of-two",
            workspace_id=WORKSPACE,
            base_url=f"{served}/api/v1/workspace",
            timeout=30,
        )
        try:
            sessions, where = client.projects.auth_sessions, {"project_name": "members", "auth_session_id": "anna"}
            created = sessions.create.start(project_name="members", body={"id": "anna", "parameters": {}})
            seen = [sessions.create.result(project_name="members", operation_id=created.operation_id).status]
            updated = sessions.update.start(**where, body={"parameters": {}})
            seen.append(sessions.update.result(**where, operation_id=updated.operation_id).status)
            seen += [sessions.validate.start(**where, body={}).status, sessions.get(**where).status]
            seen += [each.status for each in sessions.list(project_name="members")]
            sessions.delete(**where)
        finally:
            client.close()
        return seen

    assert await asyncio.to_thread(drive) == ["pending", "pending", "pending", "PENDING", "PENDING"]
    assert api.auth_sessions.known == {}
