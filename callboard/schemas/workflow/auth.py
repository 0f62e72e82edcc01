"""What Runs and Attempts know of an AuthSession.

A stored login has two names: its version and `key`, the artifact with its sealed browser state. Create and Update count
the version up. The key also changes when a successful Attempt saves back what the site has changed.
"""

from __future__ import annotations

from datetime import timedelta

from callboard.schemas.workflow.base import FlowModel, OpenStrEnum
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.trace import TraceMode


class AuthSessionType(OpenStrEnum):
    """Where the login of an AuthSession comes from (docs/contract.md, section 7)."""

    CREDENTIALS = "CREDENTIALS"
    """The login is made by `auth-sessions/create.py` from stored parameters."""
    RECORDER = "RECORDER"
    """A person has made the login: it was recorded, or imported. Only a person can make it again."""
    RUNTIME = "RUNTIME"
    """The login is made from the `runtimeInput` of one Run, for that Run only."""


class AuthSessionStatus(OpenStrEnum):
    """The status of an AuthSession (docs/contract.md, section 7)."""

    PENDING = "PENDING"
    """The login is being created or recreated."""
    READY = "READY"
    EXPIRED = "EXPIRED"


class AuthSessionRef(FlowModel):
    """Reference to an AuthSession: its name for people, and the workflow that owns it."""

    id: str
    type: AuthSessionType
    owner: str
    """Part of the AuthSession's workflow id and of its artifacts' keys: the id, or `~{run id}` for an AuthSession
    that lives for one Run."""


class LoginState(FlowModel):
    """A login as it was at some moment."""

    login_version: int
    """Version of the login; every Create and Update counts it up."""
    key: str
    """Key of the artifact with the sealed browser state (docs/contract.md, section 4.5)."""
    parameters_key: str | None = None
    """Key of the artifact with the sealed parameters that the login was made from."""


class RunAuth(FlowModel):
    """What a Run knows of its AuthSession, in a project that logs in."""

    ref: AuthSessionRef
    auto_recreate: bool
    """Whether a login that a check finds bad is recreated."""
    check_attempts: int
    """How many tries a check has."""
    create_attempts: int
    """How many tries a create has."""
    request_timeout: timedelta
    """Time limit of each check and create."""
    trace: TraceMode = TraceMode.NEVER
    """Which checks and creates leave a trace."""
    proxy: SealedProxy | None = None
    """Proxy of checks and creates."""
    save_back: bool = True
    """Whether a successful Attempt saves back the cookies and storage that the site changed."""
    is_exclusive: bool = False
    """Whether the Run takes turns with all others of which this is true, so that one at a time uses the login."""
    parameters_key: str | None = None
    """Key of the artifact with the sealed `runtimeInput` of an AuthSession that lives for this Run alone."""


class AttemptAuth(FlowModel):
    """The AuthSession of one Attempt."""

    ref: AuthSessionRef
    initial_login: LoginState | None = None
    """The login to begin with. If it is None, a check begins with the current login, and a create with none."""
    new_login_version: int = 0
    """Version of the login that a create makes."""
    parameters_key: str | None = None
    """Key of the artifact with the parameters of a create."""
    save_back: bool = True


class CheckReport(FlowModel):
    """Payload of the signal to the AuthSession that says whether a check found a login good."""

    login_version: int
    good: bool


class SavedBack(FlowModel):
    """Payload of the signal from a successful Attempt to the AuthSession: the login's state changed in use."""

    before: str
    """Key of the state that the Attempt began with; if another one is current, the new state is dropped."""
    after: str


class Imported(FlowModel):
    """Payload of the signal from the API to an imported AuthSession that another login was imported into it."""

    key: str


class DeleteStatesInput(FlowModel):
    """Input of the activity `forget_states`, which deletes browser states."""

    project: str
    owner: str
    keys: tuple[str, ...] = ()
    """Keys of the artifacts to remove; if there are none, all artifacts of the AuthSession, which is deleted."""
