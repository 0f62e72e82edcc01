"""A JobRun: one execution of a Job, which starts a Run for each item of its payload (docs/contract.md, section 17).

First what it is, and what is shown of it; then inputs and results of its activities, and of the workflow `JobLock`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.auth import RunAuth
from callboard.schemas.workflow.base import FlowModel, OpenStrEnum
from callboard.schemas.workflow.proxy import SealedProxy
from callboard.schemas.workflow.run import RetryIntervals, RunJob
from callboard.schemas.workflow.sink import SealedSink
from callboard.schemas.workflow.trace import TraceMode

AUTH_SESSION_NOT_FOUND = "AuthSessionNotFound"
"""Type of the application failure of `prepare_job_run` if the AuthSession of the Job does not exist."""

NOT_PREPARED = "NotPrepared"
"""Type of the application failure of `prepare_job_run` if something else that the JobRun needs does not exist."""

NOT_READY = "NotReady"
"""Type of the application failure of `await_auth_session` while nobody has mended the login: it is tried again."""


class JobRunType(OpenStrEnum):
    """What has started a JobRun."""

    MANUAL = "MANUAL"
    SCHEDULED = "SCHEDULED"


class JobRunStatus(OpenStrEnum):
    """Status of a JobRun. One that executes its Runs is `PENDING`: the contract has no other word for it."""

    PENDING = "PENDING"
    PAUSING = "PAUSING"
    PAUSED = "PAUSED"
    RESUMING = "RESUMING"
    SUCCESS = "SUCCESS"
    """All its Runs have ended; some may have failed."""
    FAILURE = "FAILURE"
    """It could not go on."""
    TERMINATED = "TERMINATED"
    """Somebody has ended it."""
    CANCELED = "CANCELED"
    """It was kept from starting any Run."""

    @property
    def has_ended(self) -> bool:
        """Whether a JobRun with this status has ended."""
        return self in {JobRunStatus.SUCCESS, JobRunStatus.FAILURE, JobRunStatus.TERMINATED, JobRunStatus.CANCELED}


class JobRunReasonType(OpenStrEnum):
    """`reason.type` of a JobRun: why it was canceled, terminated or paused."""

    TERMINATED = "terminated"
    USER_REQUEST = "user-request"
    AUTH_SESSION_NOT_FOUND = "auth-session-not-found"
    AUTH_SESSION_INVALID = "auth-session-invalid-mid-job"
    VALIDATE_FAILED = "auth-session-validate-dependency-failed"
    ANOTHER_JOB_RUN_ACTIVE = "another-job-run-active"


class JobRunReason(FlowModel):
    """Why a JobRun was canceled, terminated or paused."""

    type: JobRunReasonType
    message: str
    details: dict[str, Any] | None = None


class JobRunPlan(FlowModel):
    """All that the Runs of a JobRun have in common, resolved when it begins, and stored for it.

    Secrets are sealed for the JobRun (`callboard.security.seal_context.run`, with the JobRun's id).
    """

    workspace: str
    project: str
    job_id: str
    job_run_id: str
    definition: str
    """`JobDefinition.ref`."""
    version: str
    """The version of the project that all Runs execute: the one that was deployed when the JobRun began."""
    payload_count: int
    has_own_payload: bool = False
    """Whether the payload was stored for this JobRun, which reruns a part of another one; else it is the Job's."""
    window: int
    """How many Runs are in flight at most."""
    max_runs: int | None = None
    """How many Runs are started at most; None for any number."""
    maximum_attempts: int
    retry_intervals: RetryIntervals = RetryIntervals()
    request_timeout: timedelta
    trace: TraceMode = TraceMode.ALWAYS
    proxy: SealedProxy | None = None
    auth: RunAuth | None = None
    sink: SealedSink | None = None
    has_alerts: bool = False
    """Whether the ends of its Runs are counted: the settings of the version have alerts."""
    tags: tuple[str, ...] = ()
    """`JobDefinition.tags`."""
    notifications: tuple[SealedSink, ...] = ()
    """Who is told of the JobRun's end: webhooks, with the schedule by which they are tried."""

    @property
    def job(self) -> RunJob:
        """What each Run of the JobRun says of where it belongs."""
        return RunJob(job_id=self.job_id, job_run_id=self.job_run_id)


class JobRunProgress(FlowModel):
    """How far a JobRun has come. Items are counted from 0, those of the payload first, then those that Runs added."""

    total: int = 0
    """How many items there are by now."""
    next: int = 0
    """The next item to start."""
    in_flight: tuple[int, ...] = ()
    """Items whose Runs were started, and are not known to have ended."""
    succeeded: int = 0
    failed: int = 0
    """How many Runs have failed or were canceled."""
    shards: int = 0
    """How many shards of results were written."""


class JobRunView(FlowModel):
    """What is shown of a JobRun: a memo field that its workflow keeps up to date (`names.MEMO_JOB_RUN`)."""

    workspace: str
    project: str
    job_id: str
    definition: str
    """`JobDefinition.ref`."""
    type: JobRunType
    rerun_of: str | None = None
    """The JobRun of which this one runs again what has not completed."""
    status: JobRunStatus = JobRunStatus.PENDING
    version: str | None = None
    """The version of the project; None until the JobRun has begun."""
    progress: JobRunProgress = JobRunProgress()
    reason: JobRunReason | None = None
    error: str | None = None
    """Why it could not go on."""
    started_at: datetime | None = None
    """When the JobRun began; None until its workflow has begun."""
    ended_at: datetime | None = None
    updated_at: datetime | None = None


class JobRunHandover(FlowModel):
    """What one execution of the workflow `JobRun` hands on to the next one."""

    view: JobRunView
    plan: JobRunPlan
    piece: int
    """Number of the last piece."""
    is_locked: bool
    """Whether the JobRun holds the lock of its Job."""
    pause: JobRunReason | None = None
    """Why the JobRun is paused, or will be."""
    bad_login: int | None = None
    """`JobItemsResult.bad_login` of the piece after which the JobRun paused itself."""


class RerunSource(FlowModel):
    """A JobRun that has ended, of which another one runs again what has not completed."""

    job_run_id: str
    item_count: int | None
    """How many items it was to execute; None if it has ended before it had any plan."""
    unfinished: int
    """How many of its items have not completed."""
    shards: int = 0
    """How many shards of results it has."""


class JobRunInput(FlowModel):
    """Input of the workflow `JobRun`, whose id is the JobRun's id."""

    workspace: str
    project: str
    job_id: str
    definition: str
    """`JobDefinition.ref`."""
    type: JobRunType
    state: JobRunHandover | None = None
    """The state of the JobRun, if this execution of its workflow continues another one."""
    started_by: Actor | None = None
    """Who has started it; None if nobody has, but a Schedule, a file of the project or another workflow."""
    rerun: RerunSource | None = None
    """What it runs again; None for the whole payload of its Job."""


class JobLockInput(FlowModel):
    """The input of the workflow `JobLock`, and of the activities that acquire and release it."""

    project: str
    job_id: str
    holder: str
    """Id of the JobRun that holds the lock, or wants to."""
    definition: str = ""
    """`JobDefinition.ref`; says what to do if another JobRun is active."""
    line: tuple[str, ...] = ()
    """The holder and the JobRuns that wait behind it, if this execution of the workflow continues another one."""


class JobLockResult(FlowModel):
    """Result of the activity `acquire_job_lock`."""

    active: str | None = None
    """Id of the other JobRun that is active, and keeps this one from starting; None if there is none."""
    waits: bool = False
    """Whether this one waits until the lock signals that it is its turn."""


class PrepareJobRunInput(FlowModel):
    """Input of the activity `prepare_job_run`."""

    workspace: str
    project: str
    job_id: str
    job_run_id: str
    definition: str
    rerun: RerunSource | None = None
    """`JobRunInput.rerun`."""


class JobItemsMode(OpenStrEnum):
    """What a piece of a JobRun does."""

    RUN = "run"
    """It starts Runs, and collects those that end."""
    DRAIN = "drain"
    """It starts no Run, and collects those that end."""
    TERMINATE = "terminate"
    """It cancels all Runs, and collects them as they end."""


class JobItemsInput(FlowModel):
    """Input of the activity `execute_job_items`, which executes one piece of a JobRun."""

    project: str
    job_run_id: str
    piece: int
    """Number of the piece, from 1; each activity has another one."""
    progress: JobRunProgress
    mode: JobItemsMode = JobItemsMode.RUN
    is_first: bool = False
    """Whether the piece is the first one of all, or since the JobRun was resumed or is to be terminated. Where it
    starts Runs, it ends as soon as it has, so that the JobRun can show them in flight; else it cancels Runs."""
    follows_lost_piece: bool = False
    """Whether the piece before was lost: it may have started Runs that are not in `progress`."""


class JobItemsResult(FlowModel):
    """Result of the activity `execute_job_items`."""

    progress: JobRunProgress
    bad_login: int | None = None
    """Version of the login of the JobRun's AuthSession, if a Run found that this is not good."""
    is_login_bad: bool = False
    """Whether a Run found that the AuthSession is not good (any more)."""


class AwaitAuthSessionInput(FlowModel):
    """Input of the activity `await_auth_session`."""

    workspace: str
    project: str
    auth: RunAuth
    bad_login: int | None = None
    """Version of the login that was not good; another one must be there. None if there was none."""
