"""The published client library reads every answer about AuthSessions, and what it sends is taken.

Its whole way through an AuthSession's life, in both of its forms, is `tests/system/test_official_client.py`.
"""

from datetime import timedelta

import pytest
from intuned_client import AsyncIntunedClient, models
from intuned_client.exceptions import AuthenticationError, NotFoundError, ServerError, ValidationError

from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus, RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.temporal.runs import RunState
from tests.support.api_in_process import Api
from tests.support.present import assert_has, present

CREATE = models.AuthSessionsCreateStartRequestBody
UPDATE = models.AuthSessionsUpdateStartRequestBody
VALIDATE = models.AuthSessionsValidateStartRequestBody


def a_run(
    api: Api, operation: str, kind: RunType, status: RunStatus, outcome: RunOutcome | None = None, name: str = "anna"
) -> None:
    api.runs.logins["members", operation] = RunState(operation, status, outcome, kind, name)


async def test_it_creates_updates_and_validates_by_any_id(api: Api, client: AsyncIntunedClient):
    sessions, where = client.projects.auth_sessions, {"project_name": "members", "auth_session_id": "anna@home+1"}
    body = CREATE.model_validate({"id": "anna@home+1", "parameters": {"password": "x"}})
    created = await sessions.create.start(project_name="members", body=body)
    assert (await sessions.create.result(project_name="members", operation_id=created.operation_id)).status == "pending"
    assert_has(await sessions.get(**where), id="anna@home+1", type="CREDENTIALS", status="PENDING")
    updated = await sessions.update.start(**where, body=UPDATE.model_validate({"parameters": {}}))
    assert (created.status, updated.status) == ("started", "started")
    assert (await sessions.update.result(**where, operation_id=updated.operation_id)).status == "pending"
    validated = await sessions.validate.start(**where, body=VALIDATE.model_validate({}))
    assert validated.status == "pending"
    a_run(api, validated.operation_id, RunType.AUTH_SESSION_VALIDATE, RunStatus.STARTED, name="anna@home+1")
    running = await sessions.validate.result(**where, operation_id=validated.operation_id)
    assert isinstance(running, models.AuthSessionsValidateResultResponseValueInProgress)
    assert running.run_id == validated.operation_id


async def test_all_its_options_are_taken(api: Api, client: AsyncIntunedClient):
    options = {"create_attempts": 1, "check_attempts": 2, "save_trace": False, "proxy": "http://proxy.example:3128"}
    body = CREATE.model_validate({"parameters": {}, "id": "anna"}).model_copy(update=options)
    await client.projects.auth_sessions.create.start(project_name="members", body=body)
    create = present(api.auth_sessions.created[0].create)
    assert_has(create, create_attempts=1, check_attempts=2, trace=TraceMode.NEVER)
    assert present(create.proxy).server == "http://proxy.example:3128"
    options = {"auto_recreate": False, "check_attempts": 2, "create_attempts": 1, "request_timeout": 5}
    body = VALIDATE.model_validate({}).model_copy(update=options)
    started = await client.projects.auth_sessions.validate.start(
        project_name="members", auth_session_id="anna", body=body
    )
    ordered = api.auth_sessions.validates[started.operation_id]
    assert_has(ordered, **options | {"request_timeout": timedelta(seconds=5)})


async def test_it_reads_every_status_of_an_auth_session(api: Api, client: AsyncIntunedClient):
    for status in AuthSessionStatus:
        api.add_auth_session(status=status)
        one = await client.projects.auth_sessions.get(project_name="members", auth_session_id="anna")
        assert one.status == status.value


async def test_it_reads_every_error_and_every_reason(api: Api, client: AsyncIntunedClient):
    sessions = client.projects.auth_sessions
    named = {"project_name": "members", "auth_session_id": "anna", "operation_id": "op"}
    for code in ErrorCode:
        error = RunError(code=code, category="auth", message="No.", details={"attempts_count": 3})
        outcome = RunOutcome(status=RunStatus.FAILED, error=error)
        a_run(api, "op", RunType.AUTH_SESSION_UPDATE, RunStatus.FAILED, outcome)
        answer = await sessions.update.result(**named)
        assert isinstance(answer, models.AuthSessionsUpdateResultResponseValueFailed)
        ours = code is ErrorCode.QUEUE_TIMEOUT  # it is not in the published set
        published = "unexpected" if ours else code.value
        assert (answer.error.code, answer.error.message, answer.message) == (published, "No.", "No.")
        assert answer.error.details == {"attempts_count": 3} | ({"recorded": {"code": code.value}} if ours else {})
    for reason in ReasonType:
        outcome = RunOutcome(status=RunStatus.CANCELED, reason=RunReason(type=reason, message="Ended."))
        a_run(api, "op", RunType.AUTH_SESSION_VALIDATE, RunStatus.CANCELED, outcome)
        answer = await sessions.validate.result(**named)
        assert isinstance(answer, models.AuthSessionsValidateResultResponseValueCanceled)
        assert (answer.reason.type, answer.message) == (reason.value, "Ended.")


async def test_it_starts_a_run_with_a_stored_and_with_a_runtime_auth_session(api: Api, client: AsyncIntunedClient):
    api.add_auth_session()
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
        await sessions.list(project_name="nope")
    with pytest.raises(AuthenticationError):
        await sessions.create.start(project_name="closed-members", body=body)
    with pytest.raises(ValidationError) as caught:
        await sessions.create.start(project_name="members", body=body.model_copy(update={"id": "ab"}))
    assert caught.value.body["details"]["path"] == "id"
    api.auth_sessions.failure = Unavailable("Temporal cannot be reached.")
    with pytest.raises(ServerError):
        await sessions.create.start(project_name="members", body=body)
