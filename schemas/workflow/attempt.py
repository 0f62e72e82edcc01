"""What one Attempt is ordered with and how it ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from schemas.workflow.auth import AttemptAuth, LoginState
from schemas.workflow.base import FlowModel, JsonRef, OpenStrEnum
from schemas.workflow.proxy import SealedProxy
from schemas.workflow.run import RunError, RunReason
from schemas.workflow.trace import TraceMode

INTERRUPTED = "AttemptInterrupted"
"""Type of the application failure with which an Attempt ends whose worker was lost or shut down, or that was reset in
Temporal. Its details: the id of its Run, and its number."""


class AttemptStatus(OpenStrEnum):
    """Status words of an Attempt (docs/contract.md, section 9)."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


NO_LOGIN = "NoLogin"
"""Type of the application failure of an Attempt for which there is no state of a login. Its details: the number of the
login that is meant (0: there was none yet), and that of the Attempt."""

AUTH_SESSION_GONE = "AuthSessionGone"
"""Type of the application failure of an Attempt whose AuthSession is not there (any more); its detail: its number."""

ATTEMPT_FAILED = "AttemptFailed"
"""Type of the application failure of a check or create that failed; its one detail is a `FailedAttemptDetails`."""


class AttemptKind(OpenStrEnum):
    """What is called (docs/contract.md, section 13.4)."""

    API = "api"
    CHECK = "check"
    CREATE = "create"

    @property
    def path(self) -> str:
        """What is called of the project, as the `api` of a check or create."""
        return f"auth-sessions/{self.value}"


class AttemptInput(FlowModel):
    """The order for one Attempt: the argument of activities `attempt`, `check` and `create`."""

    workspace: str
    run_id: str
    number: int
    """From 1; every try takes a number, also one that does not count. Of a check or create: that of its first try."""
    project: str
    version: str
    api: str
    parameters: JsonRef
    request_timeout: timedelta
    trace: TraceMode = TraceMode.ALWAYS
    """Whether a trace is kept."""
    proxy: SealedProxy | None = None
    kind: AttemptKind = AttemptKind.API
    auth: AttemptAuth | None = None
    parent_run_id: str | None = None
    """The Run that waits for this check: it is told, too, when it begins."""


class AttemptOutcome(FlowModel):
    """How an Attempt ended: the result of activity `attempt`. A failed Attempt is an outcome, not an exception."""

    status: AttemptStatus
    result: JsonRef | None = None
    extended_payloads: JsonRef | None = None
    error: RunError | None = None
    final: bool = False
    """The failure is structural, or the user raised NonRetryableError: no further Attempt can help."""
    login: LoginState | None = None
    """Of a good check or create: the login as it is now."""
    number: int = 0
    """Of a check or create: which try ended so."""
    reason: RunReason | None = None
    """Why it was canceled, if nobody asked for that."""
    started_at: datetime | None = None
    """When it began on its Machine."""


class FailedAttemptDetails(FlowModel):
    """Why a check or create failed; the detail of its application failure."""

    number: int
    """Of the Attempt."""
    error: RunError
    login: int | None = None
    """Which login a check found bad; None: it could not look at any."""
    started_at: datetime | None = None


class AuthAttemptResult(FlowModel):
    """What came of the tries of one check or create."""

    status: AttemptStatus
    number: int
    """Of the last try."""
    login: LoginState | None = None
    """The login that was found good, or made."""
    error: RunError | None = None
    """Of the last try that failed."""
    seen: int | None = None
    """Which login a check has found bad; None: it says nothing about any."""
    final: bool = False
    """The failure is structural: no further try can help."""
    started_at: datetime | None = None
    """When the last try began, as far as that is known."""


class AttemptStarted(FlowModel):
    """Signal from the activity to its workflow: the Attempt is on a Machine (and has been for a moment)."""

    number: int
    machine: str
    worker: str
    started_at: datetime | None = None


class StopInput(FlowModel):
    """Argument of activity `stop_attempt`, on the queue of the worker that holds the Attempt."""

    run_id: str
    number: int


class LostInput(FlowModel):
    """Argument of activity `record_lost`: the Attempt that its worker could not record itself."""

    workspace: str
    run_id: str
    number: int
    project: str
    cause: str
    trace: TraceMode
    """Whether it was to leave a trace."""
    kind: AttemptKind = AttemptKind.API


class AttemptUsage(FlowModel):
    """What an Attempt took. What could not be measured is None."""

    peak_memory: int | None = None
    """Bytes of anonymous memory (RssAnon) of all processes of its Machine, browser included; what they share, such as
    the browser's code, is not counted. Looked at twice a second, and at the end."""
    cpu_seconds: float | None = None
    """Of all processes of its Machine, while it ran."""
    bytes_received: int | None = None
    """What the browser's network process read from its connections, headers and TLS included."""
    trace_size: int | None = None
    log_size: int | None = None
    """Bytes, as stored."""


class AttemptRecord(FlowModel):
    """`attempt.json` in the artifact store: the durable record of one try."""

    run_id: str
    number: int
    kind: str = "api"
    status: AttemptStatus
    api: str | None = None
    version: str | None = None
    queued_at: datetime | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    machine: str | None = None
    worker: str | None = None
    browser_version: str | None = None
    error: RunError | None = None
    page_url: str | None = None
    """Of its page, at the end of one that did not complete; without what could be a secret."""
    attributes: dict[str, Any] | None = None
    """What user code left by `set_attribute` (docs/contract.md, section 3.2)."""
    usage: AttemptUsage | None = None
    log: bool = False
    """Its log is in the store, as `log.jsonl`."""
    trace: bool = False
    """So is its trace, as `trace.zip`."""
    screenshot: bool = False
    """So is the last picture of its page, as `screenshot.png`; of one that did not complete."""
    missing: dict[str, str] = Field(default_factory=dict[str, str])
    """What should have been left and is not there (`log`, `trace`, `screenshot`): a sentence why."""
