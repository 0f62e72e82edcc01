"""Inputs and results of the activities of JobRuns, and of the workflow `JobLock`."""

from __future__ import annotations

from schemas.workflow.auth import RunAuth
from schemas.workflow.base import FlowModel, OpenStrEnum
from schemas.workflow.job_run import JobRunProgress

AUTH_SESSION_NOT_FOUND = "AuthSessionNotFound"
"""Type of the application failure of `prepare_job_run` if the AuthSession of the Job does not exist."""

NOT_PREPARED = "NotPrepared"
"""Type of the application failure of `prepare_job_run` if something else that the JobRun needs does not exist."""

NOT_READY = "NotReady"
"""Type of the application failure of `await_auth_session` while nobody has mended the login: it is tried again."""


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
