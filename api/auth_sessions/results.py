"""Results of Creates, Updates, Validates and records: the calls (docs/contract.md, section 7.2). Each is of a Run."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from starlette.responses import JSONResponse, Response

from api.dependencies import Services, ServicesDep
from api.http.access import requires
from api.lookup import ProjectDep
from api.runs.result import ContractOutcome, contract_outcome, open_handoff
from api.workspace_router import workspace_router
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.auth_sessions import OperationResult
from callboard.schemas.workflow import names
from callboard.schemas.workflow.run import ReasonType, RunOutcome, RunReason, RunStatus, RunType
from callboard.starts.lookup import find_auth_session
from callboard.storage import object_keys
from callboard.temporal.runs import RunState

router = workspace_router("/{projectName}/auth-sessions", tag="AuthSessions")

_READING = [requires(Scope.AUTH_SESSIONS)]


@router.get(
    "/create/{operationId}/result",
    dependencies=_READING,
    operation_id="getAuthSessionCreateResult",
    summary="Get a Create's result",
    response_model=OperationResult,
)
async def create_result(services: ServicesDep, manifest: ProjectDep, operationId: str) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    return await _answer(services, manifest.project, operationId, RunType.AUTH_SESSION_CREATE)


@router.get(
    "/{authSessionId}/update/{operationId}/result",
    dependencies=_READING,
    operation_id="getAuthSessionUpdateResult",
    summary="Get an Update's result",
    response_model=OperationResult,
)
async def update_result(services: ServicesDep, manifest: ProjectDep, authSessionId: str, operationId: str) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    return await _answer(services, manifest.project, operationId, RunType.AUTH_SESSION_UPDATE, authSessionId)


@router.get(
    "/{authSessionId}/validate/{operationId}/result",
    dependencies=_READING,
    operation_id="getAuthSessionValidateResult",
    summary="Get a Validate's result",
    response_model=OperationResult,
)
async def validate_result(
    services: ServicesDep, manifest: ProjectDep, authSessionId: str, operationId: str
) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    return await _answer(services, manifest.project, operationId, RunType.AUTH_SESSION_VALIDATE, authSessionId)


@router.get(
    "/record/{operationId}/result",
    dependencies=_READING,
    operation_id="getAuthSessionRecordResult",
    summary="Get a record's result",
    response_model=OperationResult,
)
async def record_result(services: ServicesDep, manifest: ProjectDep, operationId: str) -> Response:
    """Get the operation's status, of a first record or a renewal. `handoff` is what waits for the person."""
    return JSONResponse(await operation_result(services, manifest.project, operationId, RunType.AUTH_SESSION_RECORD))


def accepted_note(run_type: RunType, auth_session_id: str) -> bytes:
    """Return the artifact which tells that a Create, an Update or a record was accepted.

    Its Run starts only when the AuthSession is ready for it.
    """
    note = {"authSessionId": auth_session_id, "type": run_type.value, "acceptedAt": datetime.now(UTC).isoformat()}
    return json.dumps(note).encode("ascii")


async def _answer(
    services: Services, project: str, operation_id: str, run_type: RunType, auth_session_id: str | None = None
) -> Response:
    return JSONResponse(await operation_result(services, project, operation_id, run_type, auth_session_id))


async def operation_result(
    services: Services, project: str, operation_id: str, run_type: RunType, auth_session_id: str | None = None
) -> dict[str, Any]:
    """Return the result of an operation.

    Raises:
        NotFound: There is no such operation of this kind, and of this AuthSession if one is named.
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    if not names.is_run_id(operation_id):
        raise _not_found()
    state = await _find_state(services, project, operation_id)
    if state is None:
        accepted_id = await _accepted_auth_session(services, project, operation_id, run_type)
        if accepted_id is None or auth_session_id not in (None, accepted_id):
            raise _not_found()
        if await find_auth_session(services, project, accepted_id) is not None:
            return {"status": "pending"}
        # The AuthSession is gone. Either it never started this operation, or it did so after the state was read above.
        state = await _find_state(services, project, operation_id)
        if state is None:
            message = "The AuthSession was deleted before the operation started."
            reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message=message)
            return _canceled_body(contract_outcome(RunOutcome(status=RunStatus.CANCELED, reason=reason)))
    if (
        state.type is not run_type
        or state.auth_session_id is None
        or auth_session_id not in (None, state.auth_session_id)
    ):
        raise _not_found()
    if state.outcome is not None and await _is_being_processed(services, project, state):
        return {"status": "in_progress", "runId": state.run_id}
    return _result_body(state, state.auth_session_id)


def _result_body(state: RunState, auth_session_id: str) -> dict[str, Any]:
    outcome = state.outcome
    if outcome is None:
        has_started = state.status is RunStatus.STARTED
        if not has_started:
            return {"status": "pending"}
        return {"status": "in_progress", "runId": state.run_id, **open_handoff(state)}
    result = contract_outcome(outcome)
    if result.error is not None:
        return {"status": "failed", "message": result.message, "error": result.error}
    if result.reason is not None:
        return _canceled_body(result)
    return {"status": "done", "authSessionId": auth_session_id}


def _canceled_body(result: ContractOutcome) -> dict[str, Any]:
    return {"status": "canceled", "message": result.message, "reason": result.reason}


async def _find_state(services: Services, project: str, operation_id: str) -> RunState | None:
    try:
        return await services.runs.get_state(services.settings.workspace, project, operation_id)
    except NotFound:
        return None


async def _accepted_auth_session(services: Services, project: str, operation_id: str, run_type: RunType) -> str | None:
    """Return the id of the AuthSession that the operation was accepted for, or None if it was not accepted."""
    data = await services.store.get(object_keys.accepted(project, operation_id))
    note: dict[str, str] = {} if data is None else json.loads(data)
    return note["authSessionId"] if note.get("type") == run_type.value else None


async def _is_being_processed(services: Services, project: str, state: RunState) -> bool:
    """Tell whether the Run has just ended and the AuthSession has not processed its outcome yet."""
    if state.type is RunType.AUTH_SESSION_VALIDATE or state.auth_session_id is None:
        return False
    view = await find_auth_session(services, project, state.auth_session_id)
    return view is not None and view.pending_run_id == state.run_id


def _not_found() -> NotFound:
    return NotFound("There is no such operation.")
