"""Inputs and signals of the workflows of AuthSessions: `AuthSession`, `Create` and `Validate`."""

from __future__ import annotations

from datetime import datetime, timedelta

from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType, LoginState
from callboard.schemas.workflow.base import FlowModel
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunError, RunJob, RunType
from callboard.schemas.workflow.trace import TraceMode

RECORD_TIMEOUT = timedelta(minutes=10)
"""Time limit of a record, whose clock stands still while the person logs in, and of each check after it."""
LEASES_SHOWN = 100
"""How many of those that wait for a login are shown by id."""


class LeaseView(FlowModel):
    """Who uses a login alone, and who waits for it (docs/contract.md, section 10, rule 13)."""

    holder: str | None = None
    """Id of the Run, Validate or Update whose turn it is; None if nobody has asked for one."""
    waiting: int = 0
    """How many others wait for their turn."""
    next: tuple[str, ...] = ()
    """The first of these, at most `LEASES_SHOWN`, in the order of their turns."""
    parameters_key: str | None = None
    """Key of the artifact with the sealed parameters of the last Update among them; None if there is none."""
    record: str | None = None
    """Id of the first record among them; None if there is none."""


class LeaseRequest(FlowModel):
    """A place in the line of those that use a login alone."""

    run_id: str
    """Id of a Run, a Validate or an Update."""
    at: datetime
    """When it was started: those that were started earlier come first."""


class LeaseAnswer(FlowModel):
    """Payload of the signal from the AuthSession to a Run or Validate that is to use its login alone."""

    error: RunError | None = None
    """Why it may not; None if it does from now on."""


class AuthSessionView(FlowModel):
    """The state of an AuthSession: the memo of its workflow, so that it can be read without a worker."""

    id: str
    type: AuthSessionType
    status: AuthSessionStatus
    login_version: int = 0
    """Version of the current login; 0 if there was none yet."""
    state_key: str | None = None
    parameters_key: str | None = None
    """Key of the artifact with the sealed parameters that the login was made from."""
    proxy: SealedProxy | None = None
    """The proxy that the AuthSession was created or updated with. It applies to every call that uses the AuthSession
    and has no proxy of its own."""
    created_at: datetime
    updated_at: datetime
    """When the login last changed."""
    pending_run_id: str | None = None
    """The Create or Update that makes the login, until the login is kept or, if that failed, what is left of it is
    removed."""
    start_url: str | None = None
    """Where a person begins to log in; None if no login of the AuthSession was recorded."""
    from_file: bool = False
    """Whether it is a file of the project: only a deploy changes and removes it."""
    lease: LeaseView = LeaseView()

    @property
    def login(self) -> LoginState | None:
        """The current login, if there is one."""
        if self.state_key is None:
            return None
        return LoginState(login_version=self.login_version, key=self.state_key, parameters_key=self.parameters_key)


class LoginSpec(FlowModel):
    """How a login is made: by a Create, an Update or a record, or by one of these that a Validate asked for."""

    run_id: str
    """Id of the Run (type `auth-session-create`, `-update` or `-record`) that makes the login."""
    type: RunType
    version: str
    parameters_key: str | None = None
    """Key of the artifact with the sealed parameters that the login is made from; None if a person logs in."""
    start_url: str | None = None
    """Where a person begins to log in; None if the login is made from parameters."""
    create_attempts: int
    check_attempts: int
    """How many tries the check that follows has; if it is 0, whoever asked for the login checks it."""
    request_timeout: timedelta
    trace: TraceMode = TraceMode.NEVER
    proxy: SealedProxy | None = None
    parent_run_id: str | None = None
    started_by: Actor | None = None
    """Who has started it; None if nobody has, but a Schedule, a file of the project or another workflow."""


class AuthSessionInput(FlowModel):
    """The input of the workflow `AuthSession`, also when it continues as new."""

    workspace: str
    project: str
    ref: AuthSessionRef
    view: AuthSessionView
    create: LoginSpec | None = None
    """How the login is made if there is none yet. If that fails, nothing of the AuthSession is left."""
    stale: tuple[str, ...] = ()
    """Keys of artifacts with states that are no longer current, and not removed yet."""
    line: tuple[LeaseRequest, ...] = ()
    """Who uses the login alone, and those that wait for that, in their order."""
    updates: tuple[LoginSpec, ...] = ()
    """The Updates among these."""


class CreateInput(FlowModel):
    """The input of the workflow `Create`, a Run of type `auth-session-create`, `-update` or `-record`."""

    workspace: str
    project: str
    ref: AuthSessionRef
    spec: LoginSpec
    login_version: int
    """Version of the login that this Run makes."""


class ValidateInput(FlowModel):
    """The input of the workflow `Validate`, a Run of type `auth-session-validate`."""

    workspace: str
    project: str
    version: str
    ref: AuthSessionRef
    auto_recreate: bool
    check_attempts: int
    create_attempts: int
    request_timeout: timedelta
    """Time limit of each check and create."""
    queue_timeout: timedelta | None = None
    """Longest time that the first check may wait for a Machine, if the Run that waits for this Validate has a limit."""
    trace: TraceMode = TraceMode.NEVER
    save_back: bool = True
    takes_lease: bool = False
    """Whether it takes turns with the Runs that use the login alone. It does not if the Run that waits for it may."""
    proxy: SealedProxy | None = None
    parent_run_id: str | None = None
    is_run_started: bool = False
    """Whether the Run that waits for this Validate has started, and so takes precedence over others."""
    job: RunJob | None = None
    """The JobRun that waits for this Validate, or that the Run belongs to which waits for it."""
    started_by: Actor | None = None
    """Who has started it; None if nobody has, but a Schedule, a file of the project or another workflow."""


class RecreateRequest(FlowModel):
    """Payload of the signal from a Validate to the AuthSession that the login it saw is not good any more."""

    validate_run_id: str
    """Workflow id of the Validate, which gets the answer by the signal `recreated`."""
    seen_login_version: int
    """Version of the login that the Validate saw. If another one is current by now, that one is the answer."""
    spec: LoginSpec
    """How the new login is made; the AuthSession fills in `run_id` and `parameters_key`."""


class RecreateResult(FlowModel):
    """Payload of the signal from the AuthSession to a Validate that asked: another login, or why there is none."""

    login: LoginState | None = None
    error: RunError | None = None
    run_id: str | None = None
    """Id of the Create that made the login, or failed to."""
