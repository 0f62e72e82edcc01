"""What the workflows of AuthSessions are given and tell each other: `AuthSession`, `Create` and `Validate`."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType, LoginState
from schemas.workflow.base import FlowModel
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunError, RunType
from schemas.workflow.trace import TraceMode


class AuthSessionView(FlowModel):
    """What is known of an AuthSession: the memo of its workflow, so that it can be read without a worker."""

    id: str
    type: AuthSessionType
    status: AuthSessionStatus
    login: int = 0
    """Which login is current; 0: there was none yet."""
    state_key: str | None = None
    parameters_key: str | None = None
    """Artifact: the sealed parameters that it was made from."""
    proxy: SealedProxy | None = None
    """The proxy that it was created or updated with: that of every call that uses it and has none of its own."""
    created_at: datetime
    updated_at: datetime
    """When its login last changed."""
    making: str | None = None
    """The Create or Update that makes its login, until it is kept or, if that failed, what is left of it is removed."""

    @property
    def state(self) -> LoginState | None:
        """The current login, if there is one."""
        if self.state_key is None:
            return None
        return LoginState(login=self.login, key=self.state_key, parameters_key=self.parameters_key)


class LoginSpec(FlowModel):
    """What a login is made with: by a Create, an Update, or anew for a Validate."""

    run_id: str
    """Of the Run (type `create` or `update`) that makes it."""
    type: RunType
    version: str
    parameters_key: str
    create_attempts: int
    check_attempts: int
    """Of the check that follows; 0: whoever asked for the login checks it."""
    request_timeout: timedelta
    trace: TraceMode = TraceMode.NEVER
    proxy: SealedProxy | None = None
    parent_run_id: str | None = None


class AuthSessionInput(FlowModel):
    """The one argument of workflow `AuthSession`, also when it continues as new."""

    workspace: str
    project: str
    ref: AuthSessionRef
    view: AuthSessionView
    create: LoginSpec | None = None
    """How it is made, if it is not there yet. If that fails, nothing of it is left."""
    stale: tuple[str, ...] = ()
    """Artifacts of states that are not current any more, and not removed yet."""


class CreateInput(FlowModel):
    """The one argument of workflow `Create`, a Run of type `auth-session-create` or `-update`."""

    workspace: str
    project: str
    ref: AuthSessionRef
    order: LoginSpec
    login: int
    """The number of the login that this makes."""


class ValidateInput(FlowModel):
    """The one argument of workflow `Validate`, a Run of type `auth-session-validate`."""

    workspace: str
    project: str
    version: str
    ref: AuthSessionRef
    auto_recreate: bool
    check_attempts: int
    create_attempts: int
    request_timeout: timedelta
    """Of each check and create."""
    trace: TraceMode = TraceMode.NEVER
    save_back: bool = True
    proxy: SealedProxy | None = None
    parent_run_id: str | None = None
    begun: bool = False
    """The Run that waits for it has begun: it goes before others."""


class RecreateRequest(FlowModel):
    """Signal of a Validate to the AuthSession: the login that it saw is not good any more."""

    asker: str
    """Workflow id of the Validate, which is answered by signal `recreated`."""
    login: int
    """The one that it saw. If another is current by now, that is the answer."""
    order: LoginSpec
    """`run_id` and `parameters_key` are the AuthSession's to fill in."""


class RecreateResult(FlowModel):
    """Signal of the AuthSession to a Validate that asked: there is another login, or there is none to be had."""

    state: LoginState | None = None
    error: RunError | None = None
    run_id: str | None = None
    """The Create that made it, or failed to."""
