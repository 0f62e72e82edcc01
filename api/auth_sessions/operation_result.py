"""Results of a Create, an Update or a Validate. Each is a Run, reported as in docs/contract.md, section 7.2."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from api.contract_values import ClosedOutcome, closed_outcome
from api.dependencies import Services
from api.runs.ids import is_run_id
from schemas.errors import NotFound
from schemas.workflow.run import ReasonType, RunOutcome, RunReason, RunStatus, RunType
from storage import keys
from temporal.runs import RunState


async def note_accepted(parts: Services, project: str, operation_id: str, kind: RunType, auth_session_id: str) -> None:
    """Record that a Create or Update is accepted: its Run begins only when its AuthSession comes to it.

    Raises:
        StoreError: The store failed.
    """
    note = {"authSessionId": auth_session_id, "type": kind.value, "acceptedAt": datetime.now(UTC).isoformat()}
    await parts.store.put(keys.accepted(project, operation_id), json.dumps(note).encode("ascii"))


async def operation_body(
    parts: Services, project: str, operation_id: str, kind: RunType, auth_session_id: str | None = None
) -> dict[str, Any]:
    """Return the body of the answer to a `result` call.

    Raises:
        NotFound: There is no such operation of this kind, and of this AuthSession if one is named.
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    if not is_run_id(operation_id):
        raise _no_such()
    state = await _state(parts, project, operation_id)
    if state is None:
        accepted = await _accepted_for(parts, project, operation_id, kind)
        if accepted is None or auth_session_id not in (None, accepted):
            raise _no_such()
        if await _is_there(parts, project, accepted):
            return {"status": "pending"}
        # The AuthSession is gone. Either it never came to this operation, or it has since the state was read above.
        state = await _state(parts, project, operation_id)
        if state is None:
            message = "The AuthSession was deleted before this began."
            reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message=message)
            return _canceled(closed_outcome(RunOutcome(status=RunStatus.CANCELED, reason=reason)))
    if state.type is not kind or state.auth_session_id is None or auth_session_id not in (None, state.auth_session_id):
        raise _no_such()
    if state.outcome is not None and await _is_being_kept(parts, project, state):
        return {"status": "in_progress", "runId": state.run_id}
    return _union(state, state.auth_session_id)


def _union(state: RunState, auth_session_id: str) -> dict[str, Any]:
    outcome = state.outcome
    if outcome is None:
        begun = state.status is RunStatus.STARTED
        return {"status": "in_progress", "runId": state.run_id} if begun else {"status": "pending"}
    closed = closed_outcome(outcome)
    if closed.error is not None:
        return {"status": "failed", "message": closed.message, "error": closed.error}
    if closed.reason is not None:
        return _canceled(closed)
    return {"status": "done", "authSessionId": auth_session_id}


def _canceled(closed: ClosedOutcome) -> dict[str, Any]:
    return {"status": "canceled", "message": closed.message, "reason": closed.reason}


async def _state(parts: Services, project: str, operation_id: str) -> RunState | None:
    try:
        return await parts.runs.state(parts.settings.workspace, project, operation_id)
    except NotFound:
        return None


async def _accepted_for(parts: Services, project: str, operation_id: str, kind: RunType) -> str | None:
    """Return the id of the AuthSession that the operation was accepted for, or None if it was not accepted."""
    data = await parts.store.get(keys.accepted(project, operation_id))
    note: dict[str, str] = {} if data is None else json.loads(data)
    return note["authSessionId"] if note.get("type") == kind.value else None


async def _is_there(parts: Services, project: str, auth_session_id: str) -> bool:
    try:
        await parts.auth_sessions.view(parts.settings.workspace, project, auth_session_id)
    except NotFound:
        return False
    return True


async def _is_being_kept(parts: Services, project: str, state: RunState) -> bool:
    """Tell whether the Run has just ended and the AuthSession has not processed its outcome yet."""
    if state.type is RunType.AUTH_SESSION_VALIDATE or state.auth_session_id is None:
        return False
    try:
        view = await parts.auth_sessions.view(parts.settings.workspace, project, state.auth_session_id)
    except NotFound:
        return False
    return view.making == state.run_id


def _no_such() -> NotFound:
    return NotFound("There is no such operation.")
