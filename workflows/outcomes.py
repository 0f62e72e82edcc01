"""Translate the end of an Attempt for its Run, and that of the Run for its workflow (docs/contract.md, section 10.1).

Temporal's close status is true of the Run: a completed one closes as Completed, one that somebody canceled as Canceled,
every other one as Failed, with the code of its error or the type of its reason as the type of the failure. The outcome
itself travels with the close: as the result, in the memo, or in the details of the failure.
"""

from __future__ import annotations

from typing import Any

from pydantic import ValidationError
from temporalio import workflow
from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutType,
)
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from callboard.schemas.errors import Category
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    AUTH_SESSION_GONE,
    INTERRUPTED,
    NO_LOGIN,
    AttemptOutcome,
    AttemptStatus,
)
from callboard.schemas.workflow.base import HEADLINE_LIMIT, MESSAGE_LIMIT, FlowModel, clip
from callboard.schemas.workflow.run import (
    QUEUE_TIMED_OUT,
    ErrorCode,
    ReasonType,
    RunCause,
    RunError,
    RunOutcome,
    RunReason,
    RunStatus,
)


def completed(attempt: AttemptOutcome, number: int) -> RunOutcome:
    """Return the outcome of a Run whose Attempt `number` has completed: the Run's result is that Attempt's."""
    return RunOutcome(
        status=RunStatus.COMPLETED,
        result=attempt.result,
        extended_payloads=attempt.extended_payloads,
        attempts=number,
    )


def canceled(attempts: int, reason: RunReason | None = None) -> RunOutcome:
    """Return the outcome of a Run that was canceled, for this reason or by request."""
    by_request = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled by request.")
    return RunOutcome(status=RunStatus.CANCELED, reason=reason or by_request, attempts=attempts)


def not_validated(cause: RunError | RunReason | None, validate_run_id: str | None, attempts: int) -> RunOutcome:
    """Return the outcome of a Run that makes no (further) Attempt, because its AuthSession is not good.

    Args:
        cause: Why the AuthSession is not good, as its Validate or the Attempt says.
        validate_run_id: The Validate that says so; None if the Attempt does.
        attempts: How many Attempts took a number.
    """
    message = f"The AuthSession could not be validated: {cause.message if cause else 'there was no outcome.'}"
    details: dict[str, Any] = {} if validate_run_id is None else {"validateRunId": validate_run_id}
    if isinstance(cause, RunError):
        details["error"] = cause.model_dump(mode="json", exclude_none=True)
    return RunOutcome(
        status=RunStatus.CANCELED,
        reason=RunReason(type=ReasonType.VALIDATE_FAILED, message=clip(message, MESSAGE_LIMIT), details=details),
        attempts=attempts,
    )


def is_login_missing(attempt: AttemptOutcome) -> bool:
    """Tell whether the AuthSession was deleted between its Validate and the Attempt."""
    return attempt.error is not None and attempt.error.code is ErrorCode.AUTH_CHECK_FAILED


def failed_for_good(attempt: AttemptOutcome, number: int) -> RunOutcome:
    """Return the outcome of a Run that no further Attempt can help: it carries the Attempt's own error."""
    return RunOutcome(status=RunStatus.FAILED, error=_error_of(attempt), attempts=number)


def attempts_failed(attempt: AttemptOutcome, number: int) -> RunOutcome:
    """Return the outcome of a Run that has no Attempt left: the wrapper code, with the last Attempt's error inside."""
    last = _error_of(attempt)
    return wrapped(ErrorCode.API_ATTEMPTS_FAILED, last.category, last, number)


def wrapped(code: ErrorCode, category: Category | str, last: RunError, attempts: int) -> RunOutcome:
    """Return the outcome of a Run that has failed with this code and category, and with the last error inside."""
    last_error = {"code": last.code.value, "category": last.category, "message": last.message}
    details = {"attempts_count": attempts, "last_error": last_error}
    error = RunError(code=code, category=category, message=last.message, retirable=last.retirable, details=details)
    return failed_with(error, attempts)


def failed_with(error: RunError, attempts: int) -> RunOutcome:
    """Return the outcome of a Run that has failed by this error when so many Attempts had taken a number."""
    return RunOutcome(status=RunStatus.FAILED, error=error, attempts=attempts)


def from_activity_error(error: ActivityError) -> AttemptOutcome:
    """Return the outcome of an Attempt whose activity did not return one."""
    match error.cause:
        case CancelledError():
            return AttemptOutcome(status=AttemptStatus.CANCELED)
        case TemporalTimeoutError(type=TimeoutType.START_TO_CLOSE):
            message = "The Attempt was still running at the limit of 12 hours."
            return _failed(ErrorCode.SCRIPT_TIMEOUT, "execution", message)
        case TemporalTimeoutError(type=TimeoutType.SCHEDULE_TO_START):
            return AttemptOutcome(status=AttemptStatus.FAILED, error=QUEUE_TIMED_OUT, final=True)
        case TemporalTimeoutError():
            return _interrupted("The worker that ran the Attempt was lost.")
        case ApplicationError(type=kind, details=[outcome]) if kind == ATTEMPT_FAILED:
            return AttemptOutcome.model_validate(outcome)
        case ApplicationError(type=kind, message=message) if kind == INTERRUPTED:
            return _interrupted(message)
        case ApplicationError(type=kind, message=message) if kind in (AUTH_SESSION_GONE, NO_LOGIN):
            return _failed(ErrorCode.AUTH_CHECK_FAILED, "auth", message)
        case cause:
            message = clip(f"The worker could not carry out the Attempt: {cause}", MESSAGE_LIMIT)
            return _failed(ErrorCode.INTERNAL_SERVER_ERROR, "infrastructure", message)


def close(outcome: RunOutcome, *, cancel_requested: bool) -> RunOutcome:
    """Close this workflow as the outcome says, as the last thing that it does.

    Args:
        outcome: How the Run ended.
        cancel_requested: Whether this workflow was asked to cancel. Temporal lets no other close as Canceled.

    Returns:
        The outcome of a completed Run.

    Raises:
        CancelledError: Somebody canceled the Run. A canceled workflow carries no details: the outcome is in the memo.
        ApplicationError: Any other end; its type is the error's code or the reason's type, its detail the outcome.
    """
    if outcome.status is RunStatus.COMPLETED:
        return outcome
    cause = outcome.error or outcome.reason
    if cause is None:
        raise ValueError(f"A Run that is {outcome.status} says why")
    if cancel_requested and outcome.reason is not None and outcome.reason.type is ReasonType.CANCELLED_USER_ACTION:
        workflow.upsert_memo({names.MEMO_OUTCOME: outcome.model_dump(mode="json")})
        raise CancelledError(cause.message)
    message = clip(cause.message, HEADLINE_LIMIT)
    raise ApplicationError(message, outcome, type=_type_of(cause), non_retryable=True)


def outcome_of_failure[T: FlowModel](failure: BaseException | None, outcome_type: type[T]) -> T | None:
    """Return the outcome that the failure of a closed workflow carries; None if it carries none."""
    match failure:
        case ApplicationError(details=[outcome, *_]):
            try:
                return outcome_type.model_validate(outcome)
            except ValidationError:
                return None
        case _:
            return None


def from_child_error(error: ChildWorkflowError) -> RunOutcome:
    """Return the outcome of a Validate or Create that has not completed."""
    match error.cause:
        case CancelledError():
            return ended_in_temporal(ReasonType.CANCELLED_USER_ACTION, "It was canceled.")
        case TerminatedError():
            return ended_in_temporal(ReasonType.TERMINATED, "It was terminated.")
        case cause if (outcome := outcome_of_failure(cause, RunOutcome)) is not None:
            return outcome
        case cause:
            return internal_error(f"It ended by an error of Callboard: {cause}")


def ended_in_temporal(reason: ReasonType, message: str) -> RunOutcome:
    """Return the outcome of a Run whose workflow was canceled or terminated, and reported no outcome of its own."""
    return RunOutcome(status=RunStatus.CANCELED, reason=RunReason(type=reason, message=message))


def internal_error(message: str) -> RunOutcome:
    """Return the outcome of a Run whose workflow ended by a defect, and reported no outcome of its own."""
    error = RunError(
        code=ErrorCode.INTERNAL_SERVER_ERROR,
        category="infrastructure",
        message=clip(message, MESSAGE_LIMIT),
        retirable=True,
    )
    return RunOutcome(status=RunStatus.FAILED, error=error)


def cause_of(outcome: RunOutcome) -> RunCause | None:
    """Return in short why the Run failed or was canceled, as lists show it; None if it completed."""
    cause = outcome.error or outcome.reason
    return None if cause is None else RunCause(code=_type_of(cause), message=clip(cause.message, HEADLINE_LIMIT))


def innermost_cause(outcome: RunOutcome) -> str:
    """Return in one word why the Run failed or was canceled; empty if it completed.

    A Run that has no Attempt left has failed for what its last Attempt has failed for.
    """
    cause = outcome.error or outcome.reason
    if cause is None:
        return ""
    if isinstance(cause, RunError) and cause.code is ErrorCode.API_ATTEMPTS_FAILED and cause.details is not None:
        last = cause.details.get("last_error")
        return ErrorCode(last["code"]).value if isinstance(last, dict) else cause.code.value
    return _type_of(cause)


def _type_of(cause: RunError | RunReason) -> str:
    return cause.code.value if isinstance(cause, RunError) else cause.type.value


def _error_of(attempt: AttemptOutcome) -> RunError:
    if attempt.error is None:
        raise ValueError(f"An Attempt that is {attempt.status} has no error")
    return attempt.error


def _interrupted(message: str) -> AttemptOutcome:
    lost = RunError(code=ErrorCode.SCRIPT_PROCESS_CRASHED, category="infrastructure", message=message, retirable=True)
    return AttemptOutcome(status=AttemptStatus.INTERRUPTED, error=lost)


def _failed(code: ErrorCode, category: Category, message: str) -> AttemptOutcome:
    error = RunError(code=code, category=category, message=message, retirable=True)
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error)
