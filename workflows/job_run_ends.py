"""How a JobRun can end, and how its workflow closes then.

Temporal's close status is true of the JobRun, as it is of a Run: a successful one closes as Completed, any other as
Failed, with the type of its reason as the type of the failure. What is shown of it travels with the close.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from temporalio.exceptions import ActivityError, ApplicationError

from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
from callboard.schemas.workflow.job_run import (
    AUTH_SESSION_NOT_FOUND,
    JobRunReason,
    JobRunReasonType,
    JobRunStatus,
    JobRunView,
)
from callboard.schemas.workflow.run import RunError, RunOutcome

FAILURE = "failure"
"""Type of the failure with which a JobRun closes that could not go on."""


@dataclass(frozen=True)
class JobRunEnd:
    """How a JobRun has ended."""

    status: JobRunStatus
    reason: JobRunReason | None = None
    error: str | None = None


SUCCESS = JobRunEnd(JobRunStatus.SUCCESS)

PAUSED_BY_REQUEST = JobRunReason(type=JobRunReasonType.USER_REQUEST, message="The JobRun was paused by request.")

TERMINATED_REASON = JobRunReason(type=JobRunReasonType.TERMINATED, message="The JobRun was terminated by request.")

TERMINATED = JobRunEnd(JobRunStatus.TERMINATED, TERMINATED_REASON)


def paused_by_bad_login(auth_session: str) -> JobRunReason:
    """Return why a JobRun has paused itself."""
    message = (
        f"AuthSession {auth_session!r} is not good any more. The JobRun goes on when the AuthSession has another login"
        " that is READY, or when somebody resumes it."
    )
    return JobRunReason(type=JobRunReasonType.AUTH_SESSION_INVALID, message=message)


def another_is_active(job_run_id: str) -> JobRunEnd:
    """Return the end of a JobRun that may not begin while another one of its Job is active."""
    message = f"JobRun {job_run_id} of this Job is active, and the Job allows one at a time."
    return _canceled(JobRunReasonType.ANOTHER_JOB_RUN_ACTIVE, message, {"jobRunId": job_run_id})


def not_validated(outcome: RunOutcome, validate_run_id: str) -> JobRunEnd:
    """Return the end of a JobRun whose AuthSession was not good before its first Run."""
    cause = outcome.error or outcome.reason
    message = f"The AuthSession could not be validated: {cause.message if cause else 'there was no outcome.'}"
    details: dict[str, Any] = {"validateRunId": validate_run_id}
    if isinstance(cause, RunError):
        details["error"] = cause.model_dump(mode="json", exclude_none=True)
    return _canceled(JobRunReasonType.VALIDATE_FAILED, message, details)


def from_activity_error(error: ActivityError) -> JobRunEnd:
    """Return the end of a JobRun one of whose activities has failed for good."""
    match error.cause:
        case ApplicationError(type=kind, message=message) if kind == AUTH_SESSION_NOT_FOUND:
            return _canceled(JobRunReasonType.AUTH_SESSION_NOT_FOUND, message)
        case ApplicationError(message=message):
            return JobRunEnd(JobRunStatus.FAILURE, error=clip(message, MESSAGE_LIMIT))
        case cause:
            message = clip(f"The JobRun could not go on: {cause or error}", MESSAGE_LIMIT)
            return JobRunEnd(JobRunStatus.FAILURE, error=message)


def close(view: JobRunView) -> JobRunView:
    """Close this workflow as the JobRun has ended, as the last thing that it does.

    Returns:
        What is shown of a successful JobRun.

    Raises:
        ApplicationError: Any other end; its detail is what is shown of the JobRun.
    """
    if view.status is JobRunStatus.SUCCESS:
        return view
    kind = FAILURE if view.reason is None else view.reason.type.value
    message = view.error if view.reason is None else view.reason.message
    raise ApplicationError(message or f"The JobRun is {view.status}.", view, type=kind, non_retryable=True)


def _canceled(kind: JobRunReasonType, message: str, details: dict[str, Any] | None = None) -> JobRunEnd:
    reason = JobRunReason(type=kind, message=clip(message, MESSAGE_LIMIT), details=details)
    return JobRunEnd(JobRunStatus.CANCELED, reason)
