"""What clients ask of AuthSessions, and what these are started with."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from datetime import timedelta
from typing import Any

from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec, ValidateInput
from callboard.schemas.workflow.run import RunType
from callboard.temporal.auth_sessions import AuthSessions
from tests.support.auth_stage import AT, FIRST, ID, LoginStage
from tests.support.stage import WORKSPACE

Call = Callable[[AuthSessions, str, str, str], Coroutine[Any, Any, Any]]


def being(stage: LoginStage, id_: str = ID, create: LoginSpec | None = None) -> AuthSessionInput:
    """What an AuthSession is started with."""
    ref = AuthSessionRef(id=id_, type=stage.ref.type, owner=id_)
    status = AuthSessionStatus.READY if create is None else AuthSessionStatus.PENDING
    login = (1, FIRST.key) if create is None else (0, None)
    view = AuthSessionView(
        id=id_, type=ref.type, status=status, login_version=login[0], state_key=login[1], created_at=AT, updated_at=AT
    )
    return AuthSessionInput(workspace=WORKSPACE, project=stage.project, ref=ref, view=view, create=create)


def validation(stage: LoginStage, **fields: Any) -> ValidateInput:
    defaults: dict[str, Any] = {"auto_recreate": True, "check_attempts": 1, "create_attempts": 1}
    return ValidateInput(
        workspace=WORKSPACE,
        project=stage.project,
        version="0123456789abcdef",
        ref=stage.ref,
        request_timeout=timedelta(minutes=5),
        **{**defaults, **fields},
    )


async def update(sessions: AuthSessions, workspace: str, project: str, id_: str) -> None:
    spec = LoginSpec(
        run_id="update",
        type=RunType.AUTH_SESSION_UPDATE,
        version="",
        parameters_key="",
        create_attempts=1,
        check_attempts=1,
        request_timeout=timedelta(seconds=20),
    )
    await sessions.update(workspace, project, id_, spec)


async def record(sessions: AuthSessions, workspace: str, project: str, id_: str) -> None:
    await sessions.replace_state(workspace, project, id_, "state-2")


CALLS: dict[str, Call] = {
    "view": AuthSessions.get,
    "update": update,
    "record": record,
    "delete": AuthSessions.delete,
}
