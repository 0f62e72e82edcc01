"""The input of one Attempt, its environment variables, how it ended, and the record that it leaves.

The variables, and what references to secrets stand for, travel as one sealed text, which is bound to the Run: a
history, and whoever reads it, has nothing in the clear.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from pydantic import Field

from callboard.schemas.workflow.auth import AttemptAuth, LoginState
from callboard.schemas.workflow.base import FlowModel, JsonRef, OpenStrEnum
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RunError, RunJob, RunReason
from callboard.schemas.workflow.trace import TraceMode


class VariableSource(OpenStrEnum):
    """Where a variable comes from."""

    WORKSPACE = "workspace"
    PROJECT = "project"
    FILE = ".env"
    """The file `.env` of the project folder, in `callboard dev`."""


class SealedVariables(FlowModel):
    """What one Attempt gets, sealed: `AttemptVariables` as JSON. It is here or, if it is large, in the store."""

    token: str | None = Field(default=None, repr=False)
    key: str | None = None


class AttemptVariable(FlowModel):
    """An environment variable of an Attempt, in the clear. It lives in memory only."""

    name: str
    value: str = Field(repr=False)
    secret: bool
    source: VariableSource


class ResolvedSecret(FlowModel):
    """What a reference `{"$secret": …}` stands for: a value, or the sentence that says why there is none."""

    value: str | None = Field(default=None, repr=False)
    problem: str | None = None


class RecordedVariable(FlowModel):
    """An environment variable as an Attempt's record names it."""

    name: str
    source: VariableSource
    secret: bool


class AttemptVariables(FlowModel):
    """What one Attempt gets, in the clear. It lives in memory only."""

    variables: tuple[AttemptVariable, ...] = ()
    secrets: dict[str, ResolvedSecret] = Field(default_factory=dict[str, ResolvedSecret], repr=False)
    """What the references in the parameters of its AuthSession stand for, by their text."""

    @property
    def recorded(self) -> tuple[RecordedVariable, ...]:
        """What the Attempt's record says of the variables."""
        return tuple(
            RecordedVariable(name=variable.name, source=variable.source, secret=variable.secret)
            for variable in self.variables
        )

    @property
    def secret_values(self) -> tuple[str, ...]:
        """All values that are masked in what the Attempt leaves."""
        resolved = (secret.value for secret in self.secrets.values() if secret.value is not None)
        return (*(variable.value for variable in self.variables if variable.secret), *resolved)


INTERRUPTED = "AttemptInterrupted"
"""Type of the application failure of an Attempt whose worker was lost or shut down, or that was reset in Temporal. Its
details are the id of its Run and the number of the Attempt."""


class AttemptStatus(OpenStrEnum):
    """The status of an Attempt (docs/contract.md, section 9)."""

    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"
    INTERRUPTED = "interrupted"


PREPARES = "prepares"
"""Heartbeat detail of an Attempt that a worker has taken, and whose version and environment it prepares. It has not
started."""

WAITS_FOR_ROOM = "waits for room"
"""Heartbeat detail of an Attempt that a worker has taken, but has no room for yet. It has not started."""

NO_LOGIN = "NoLogin"
"""Type of the application failure of an Attempt for which there is no browser state. Its details are the version of
the login that is meant (0: there was none yet), and the number of the Attempt."""

AUTH_SESSION_GONE = "AuthSessionGone"
"""Type of the application failure of an Attempt whose AuthSession does not exist (any more). Its detail is the
number of the Attempt."""

ATTEMPT_FAILED = "AttemptFailed"
"""Type of the application failure of an Attempt that failed. Its one detail is a `FailedAttemptDetails` for a check or
create, and an `AttemptOutcome` for an Attempt of an API."""


class AttemptKind(OpenStrEnum):
    """Which function of the project an Attempt calls (docs/contract.md, section 13.4)."""

    API = "api"
    CHECK = "check"
    CREATE = "create"
    RECORD = "record"
    """It calls none: a person logs in."""

    @property
    def path(self) -> str:
        """The file of the project that a check or create calls, as its `api`; there is none that a record calls."""
        return f"auth-sessions/{self.value}"

    @property
    def makes_login(self) -> bool:
        """Whether a login is made, by user code or by a person."""
        return self in (AttemptKind.CREATE, AttemptKind.RECORD)


class AttemptInput(FlowModel):
    """The input of the activities `attempt`, `check` and `create`: one Attempt."""

    workspace: str
    run_id: str
    number: int
    """Number of the Attempt, from 1. Every try takes a number, also one that does not count. For a check or create,
    this is the number of its first try."""
    project: str
    version: str
    api: str
    parameters: JsonRef
    request_timeout: timedelta
    trace: TraceMode = TraceMode.ALWAYS
    """Whether a trace of the Attempt is kept."""
    proxy: SealedProxy | None = None
    kind: AttemptKind = AttemptKind.API
    auth: AttemptAuth | None = None
    parent_run_id: str | None = None
    """The Run that waits for this check, and is also told when the check begins."""
    queue_timeout: timedelta | None = None
    """Longest time that the Attempt may wait for a Machine, counted from when Temporal was told of it: Temporal watches
    it until a worker takes the Attempt, and then that worker does, which may have to wait for room."""
    job: RunJob | None = None
    """The JobRun that the Run belongs to, or that waits for this check."""
    variables: SealedVariables | None = None
    """The environment variables of the project, as they were when the Attempt was queued; None if there are none."""


class AttemptOutcome(FlowModel):
    """How an Attempt ended: the result of its activity.

    An Attempt that failed fails its activity, with an application failure of type `AttemptFailed`: so Temporal shows
    what happened, and tries checks and creates again.
    """

    status: AttemptStatus
    result: JsonRef | None = None
    extended_payloads: JsonRef | None = None
    error: RunError | None = None
    final: bool = False
    """Whether no further Attempt can help: the failure is structural, or the user raised NonRetryableError."""
    retry_after: timedelta | None = None
    """How long the Run waits for its next Attempt, as user code has said by RetryLater."""
    login: LoginState | None = None
    """The current login, after a successful check or create."""
    number: int = 0
    """The number of the try of a check or create that ended so."""
    reason: RunReason | None = None
    """Why the Attempt was canceled, if nobody asked for that."""
    started_at: datetime | None = None
    """When the Attempt began on its Machine."""
    files: int = 0
    """How many files it has left, which its record names."""


class FailedAttemptDetails(FlowModel):
    """Why a check or create failed; the detail of its application failure."""

    number: int
    """Number of the Attempt."""
    error: RunError
    login_version: int | None = None
    """Version of the login that a check found bad; None if the check could not look at any."""
    started_at: datetime | None = None


class AttemptStarted(FlowModel):
    """Payload of the signal from the activity to its workflow: the Attempt is on a Machine (since a moment ago)."""

    number: int
    machine: str
    worker: str
    started_at: datetime | None = None
    waits: bool = False
    """Whether the Attempt is not on a Machine yet, but waits for one at this worker."""


class StopInput(FlowModel):
    """Input of the activity `stop_attempt`, on the task queue of the worker that holds the Attempt."""

    run_id: str
    number: int


class InterruptedInput(FlowModel):
    """Input of the activity `record_lost`: an interrupted Attempt, of whose end its workflow has not heard."""

    workspace: str
    run_id: str
    number: int
    project: str
    cause: str
    trace: TraceMode
    """Whether the Attempt was to leave a trace."""
    kind: AttemptKind = AttemptKind.API
    execution_id: str
    """Temporal's id of the execution of the Run's workflow: an outcome that was stored for it counts."""

    @classmethod
    def of(cls, attempt: AttemptInput, number: int, *, cause: str, execution_id: str) -> InterruptedInput:
        """Return the input for try `number` of this Attempt."""
        return cls(
            workspace=attempt.workspace,
            run_id=attempt.run_id,
            number=number,
            project=attempt.project,
            cause=cause,
            trace=attempt.trace,
            kind=attempt.kind,
            execution_id=execution_id,
        )


class AttemptUsage(FlowModel):
    """Resource usage of an Attempt. A value that could not be measured is None."""

    peak_memory: int | None = None
    """Peak of the anonymous memory (RssAnon) of all processes of the Attempt's Machine, browser included, in bytes;
    what they share, such as the browser's code, is not counted. It is measured twice a second, and at the end."""
    cpu_seconds: float | None = None
    """CPU time of all processes of the Attempt's Machine while it ran, in seconds."""
    bytes_received: int | None = None
    """Bytes that the browser's network process read from its connections, headers and TLS included."""
    trace_size: int | None = None
    log_size: int | None = None
    """Size of the stored log in bytes."""


class RecordedFile(FlowModel):
    """A file that an Attempt has left, and that is stored."""

    name: str
    size: int
    """Number of its bytes."""
    content_type: str
    sha256: str
    """SHA-256 of its bytes, in hexadecimal."""


class TracePicture(FlowModel):
    """Where a picture lies in the stored trace, which has it as it is."""

    begin: int
    """The first of its bytes, from 0."""
    size: int
    """How many bytes it has."""


class RecordedTakeover(FlowModel):
    """A time in which a person had the browser of an Attempt."""

    begin: datetime
    until: datetime
    by: str
    """Name of the key, or of the link."""


class AttemptRecord(FlowModel):
    """`attempt.json` in the artifact store: the durable record of one try."""

    run_id: str
    number: int
    kind: AttemptKind = AttemptKind.API
    status: AttemptStatus
    api: str | None = None
    version: str | None = None
    queued_at: datetime | None = None
    preparing_at: datetime | None = None
    """Time at which a Machine began to be started for it, or to be changed to its version; None if one was ready."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    machine: str | None = None
    worker: str | None = None
    browser_version: str | None = None
    error: RunError | None = None
    page_url: str | None = None
    """URL of the page at the end of an Attempt that did not complete, without what could be a secret."""
    attributes: dict[str, Any] | None = None
    """Attributes that user code set by `set_attribute` (docs/contract.md, section 3.2)."""
    usage: AttemptUsage | None = None
    log: bool = False
    """Whether the log is in the store, as `log.jsonl`."""
    trace: bool = False
    """Whether the trace is in the store, as `trace.zip`."""
    trace_picture: TracePicture | None = None
    """The last picture of the trace's film, a JPEG; only of an Attempt that completed, and if there is one."""
    screenshot: bool = False
    """Whether the last picture of the page is in the store, as `screenshot.png`; only of an Attempt that did not
    complete."""
    files: tuple[RecordedFile, ...] = ()
    """The files that are in the store, under their numbers here."""
    takeovers: tuple[RecordedTakeover, ...] = ()
    """When people had its browser, in their order."""
    trace_id: str | None = None
    """The id of the OpenTelemetry trace that the Attempt belongs to; it has nothing to do with `trace`."""
    outcome: str | None = None
    """The `AttemptOutcome` as a payload of Temporal, which is encrypted if payloads are: as bytes in base64. It counts
    if Temporal has not heard of it."""
    variables: tuple[RecordedVariable, ...] | None = None
    """Names of the environment variables of its project that it had; None if it had not come so far."""
    execution_id: str | None = None
    """Temporal's id of the execution of the Run's workflow. Another one has the Run's id after a reset of the workflow,
    or if Temporal was restored from a backup: the outcome does not count for that."""
    missing: dict[str, str] = Field(default_factory=dict[str, str])
    """What should be in the store and is not (`log`, `trace`, `screenshot`, some of `files` or of the `login`), each
    with a sentence why."""
