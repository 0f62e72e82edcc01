"""An AuthSession as Runs and Attempts know it.

A stored login is called by two names: its number (`login`), which Create and Update count up, and the artifact that
holds its sealed state (`key`), which also changes when a good Attempt saves back what the site has rotated.
"""

from __future__ import annotations

from datetime import timedelta

from schemas.workflow.base import FlowModel, OpenStrEnum
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.trace import TraceMode


class AuthSessionType(OpenStrEnum):
    """Where its login comes from (docs/contract.md, section 7)."""

    CREDENTIALS = "CREDENTIALS"
    """Made by `auth-sessions/create.py` from stored parameters."""
    RECORDER = "RECORDER"
    """Imported; cannot be made again."""
    RUNTIME = "RUNTIME"
    """Made from the `runtimeInput` of one Run, for that Run alone."""


class AuthSessionStatus(OpenStrEnum):
    """How it stands (docs/contract.md, section 7)."""

    PENDING = "PENDING"
    """Being made, or made anew."""
    READY = "READY"
    EXPIRED = "EXPIRED"


class AuthSessionRef(FlowModel):
    """Which AuthSession: its name for people, and the workflow that owns it."""

    id: str
    type: AuthSessionType
    owner: str
    """Part of its workflow id and of its artifacts' keys: the id, or `~{run id}` for one that lives for one Run."""


class LoginState(FlowModel):
    """A login as it was at some moment."""

    login: int
    """Counted up by every Create and Update."""
    key: str
    """Artifact: the sealed browser state (docs/contract.md, section 4.5)."""
    parameters_key: str | None = None
    """Artifact: the sealed parameters that it was made from."""


class RunAuth(FlowModel):
    """What a Run of a project that logs in knows of its AuthSession."""

    ref: AuthSessionRef
    auto_recreate: bool
    check_attempts: int
    create_attempts: int
    request_timeout: timedelta
    trace: TraceMode = TraceMode.NEVER
    proxy: SealedProxy | None = None
    """Of checks and creates, as are the fields above."""
    save_back: bool = True
    """Keep the cookies and storage that the site changed, after a good Attempt."""
    parameters_key: str | None = None
    """Artifact: the sealed `runtimeInput` of an AuthSession that lives for this Run alone."""


class AttemptAuth(FlowModel):
    """The AuthSession of one Attempt."""

    ref: AuthSessionRef
    state: LoginState | None = None
    """The login to begin with. None: for a check, the current one; for a create, none."""
    login: int = 0
    """The number of the login that a create makes."""
    parameters_key: str | None = None
    """Of a create: its parameters."""
    save_back: bool = True


class CheckReport(FlowModel):
    """Signal to the AuthSession: how a check found a login."""

    login: int
    good: bool


class SavedBack(FlowModel):
    """Signal of a good Attempt to the AuthSession: what has become of the login while it was used."""

    before: str
    """Key of the state that the Attempt began with; if another is current, this one is dropped."""
    after: str


class Imported(FlowModel):
    """Signal of the api to an AuthSession of the recorder: it was recorded anew."""

    key: str


class DeleteStatesInput(FlowModel):
    """Argument of activity `forget_states`."""

    project: str
    owner: str
    keys: tuple[str, ...] = ()
    """Artifacts to remove. None: all that the AuthSession has; it is gone."""
