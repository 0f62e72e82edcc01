"""A Run's input, its outcome, and the words for both (docs/contract.md, section 6)."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Self

from pydantic import BaseModel, Field

from callboard.schemas.errors import Category
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import LoginState, RunAuth
from callboard.schemas.workflow.base import FlowModel, JsonRef, OpenStrEnum
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.sink import SealedSink
from callboard.schemas.workflow.trace import TraceMode


class RunStatus(OpenStrEnum):
    """Status words of a Run (docs/contract.md, section 9)."""

    PENDING = "pending"
    STARTED = "started"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELED = "canceled"


class RunType(OpenStrEnum):
    """The type of a Run (docs/contract.md, section 13.1)."""

    API = "api"
    AUTH_SESSION_VALIDATE = "auth-session-validate"
    AUTH_SESSION_CREATE = "auth-session-create"
    AUTH_SESSION_UPDATE = "auth-session-update"
    AUTH_SESSION_RECORD = "auth-session-record"


class ErrorCode(OpenStrEnum):
    """`error.code` of a Run or an Attempt: the codes that Callboard uses (docs/contract.md, section 10.2)."""

    INTERNAL_SERVER_ERROR = "internal-server-error"
    SCRIPT_PROCESS_CRASHED = "script-process-crashed"
    SCRIPT_EXECUTION_EXCEPTION = "script-execution-exception"
    RESULT_TOO_BIG = "result-too-big-error"
    SCRIPT_TIMEOUT = "script-timeout"
    API_ATTEMPTS_FAILED = "api-attempts-failed"
    AUTH_CHECK_FAILED = "auth-check-failed"
    CHECK_ATTEMPTS_FAILED = "check-attempts-failed"
    CREATE_ATTEMPTS_FAILED = "create-attempts-failed"
    POST_CREATE_CHECK_ATTEMPTS_FAILED = "post-create-check-attempts-failed"
    QUEUE_TIMEOUT = "queue-timeout"
    """The code is Callboard's own; clients of the contract read `unexpected` in its place."""


class ReasonType(OpenStrEnum):
    """`reason.type` of a canceled Run, from the published set (docs/contract.md, section 10.2)."""

    CANCELLED_USER_ACTION = "cancelled-user-action"
    TERMINATED = "terminated"
    API_ACCESS_DISABLED = "api-access-disabled"
    VALIDATE_FAILED = "auth-session-validate-dependency-failed"
    JOB_RUN_TERMINATED = "job-run-terminated"


class RunJob(FlowModel):
    """The JobRun that a Run belongs to."""

    job_id: str
    job_run_id: str


LONGEST_WAIT = timedelta(hours=24)
"""Longest time that a Run waits for its next Attempt."""


class RetryIntervals(FlowModel):
    """How long a Run waits after an Attempt that failed, in Temporal's words."""

    initial_interval: timedelta = timedelta()
    """The wait after the first one; 0 if there is none after any."""
    backoff_coefficient: float = 2.0
    """How many times as long each wait is as the one before it."""
    maximum_interval: timedelta = LONGEST_WAIT
    """No wait is longer."""

    @classmethod
    def first_said(cls, *sources: BaseModel) -> Self:
        """Return the intervals, each as the first of the sources says it; they have None for what they do not say."""
        said = [(name, getattr(source, name)) for source in reversed(sources) for name in cls.model_fields]
        return cls(**{name: value for name, value in said if value is not None})

    def after(self, failures: int) -> timedelta:
        """Return the wait once so many Attempts have failed."""
        seconds = self.initial_interval.total_seconds() * self.backoff_coefficient ** (failures - 1)
        return timedelta(seconds=min(seconds, self.maximum_interval.total_seconds()))


class RunInput(FlowModel):
    """The input of the workflow `Run`. Everything is resolved: defaults are applied, the version is pinned."""

    workspace: str
    project: str
    version: str
    api: str
    parameters: JsonRef
    maximum_attempts: int
    retry_intervals: RetryIntervals = RetryIntervals()
    request_timeout: timedelta
    """Time limit of one Attempt, whose clock starts on the Machine."""
    queue_timeout: timedelta | None = None
    """Longest time that the Run may wait for a Machine before its first Attempt or check begins; None for no limit."""
    trace: TraceMode = TraceMode.ALWAYS
    """Which Attempts leave a trace."""
    proxy: SealedProxy | None = None
    auth: RunAuth | None = None
    """AuthSession of a Run in a project that logs in: each Attempt comes after a Validate of this AuthSession."""
    sink: SealedSink | None = None
    """Where the result is delivered."""
    reads_variables: bool = True
    """Whether environment variables are read for its Attempts. If not, there was none when the Run was started."""
    tags: tuple[str, ...] = ()
    """Words by which lists find the Run; they are not secret."""
    job: RunJob | None = None
    """The JobRun that has started the Run; None for a Run that was started by itself."""
    has_alerts: bool = False
    """Whether its end is counted: the settings of its version have alerts."""
    started_by: Actor | None = None
    """Who has started it; None if nobody has, but a Schedule, a file of the project or another workflow."""

    @property
    def takes_lease(self) -> bool:
        """Whether the Run takes turns with others to use its login."""
        return self.auth is not None and self.auth.is_exclusive


class RunError(FlowModel):
    """Why a Run or an Attempt failed (docs/contract.md, section 6.2)."""

    code: ErrorCode
    category: Category | str
    """Category of the error; a later version may use a word that this one does not know."""
    message: str
    retirable: bool = False
    details: dict[str, Any] | None = None


QUEUE_TIMED_OUT = RunError(
    code=ErrorCode.QUEUE_TIMEOUT,
    category="infrastructure",
    message="No Machine was free within the Run's queueTimeout.",
    retirable=True,
)
"""Error of a Run that has waited for a Machine as long as it may."""

LOGIN_TIMED_OUT = QUEUE_TIMED_OUT.model_copy(
    update={"message": "Other Runs used the login of the AuthSession until the Run's queueTimeout was over."}
)
"""Error of a Run that has waited for its turn to use a login as long as it may."""


class RunReason(FlowModel):
    """Why a Run was canceled (docs/contract.md, section 6.2)."""

    type: ReasonType
    message: str
    details: dict[str, Any] | None = None


class RunOutcome(FlowModel):
    """How a Run ended. `workflows.outcomes.close` describes how it travels with the close of the workflow."""

    status: RunStatus
    result: JsonRef | None = None
    extended_payloads: JsonRef | None = None
    error: RunError | None = None
    reason: RunReason | None = None
    attempts: int = 0
    """How many Attempts took a number, interrupted ones included."""
    files: int = 0
    """How many files the last of them has left, which its record names."""
    login: LoginState | None = None
    """The login that a completed Validate found good, or that a completed Create or Update made."""
    started_at: datetime | None = None
    """When the first Attempt, or Validate, of the Run began on a Machine, as far as that is known."""
    ended_at: datetime | None = None
    """When the Run ended; None if its workflow was ended in Temporal itself."""
    canceled_by: Actor | None = None
    """Who has requested the cancel of a Run that was canceled by request, if that is known."""


class RunCause(FlowModel):
    """Why a Run failed or was canceled, in short."""

    code: str
    """`error.code` or `reason.type`."""
    message: str


class RunSummary(FlowModel):
    """What lists show of a Run in addition to its search attributes.

    Lists read no history, and nothing from the store.
    """

    version: str
    started_at: datetime | None = None
    attempts: int = 0
    """How many Attempt numbers were taken."""
    waits_until: datetime | None = None
    """When its last wait for another Attempt ends, or has ended."""
    cause: RunCause | None = None
    parameters: str = Field(default="", repr=False)
    """The beginning of the JSON text of its parameters."""
    result: str = Field(default="", repr=False)
    """The beginning of the JSON text of its result."""
