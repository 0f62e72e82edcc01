"""What the end of an Attempt means for its Run: pure functions (contract 10 and 10.1, DESIGN section 6)."""

from __future__ import annotations

from typing import Any

from temporalio.exceptions import (
    ActivityError,
    ApplicationError,
    CancelledError,
    ChildWorkflowError,
    TerminatedError,
    TimeoutType,
)
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from contract.errors import Category
from contract.flow.attempt import AUTH_SESSION_GONE, INTERRUPTED, NO_LOGIN, AttemptOutcome, AttemptStatus
from contract.flow.base import MESSAGE_LIMIT, clip
from contract.flow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus


def completed(ended: AttemptOutcome, number: int) -> RunOutcome:
    """The Run's result is that of its last Attempt."""
    return RunOutcome(
        status=RunStatus.COMPLETED,
        result=ended.result,
        extended_payloads=ended.extended_payloads,
        attempts=number,
    )


def canceled(number: int) -> RunOutcome:
    """Somebody asked for it."""
    return RunOutcome(
        status=RunStatus.CANCELED,
        reason=RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled by request."),
        attempts=number,
    )


def is_without_login(ended: AttemptOutcome) -> bool:
    """The AuthSession was deleted between its Validate and the Attempt."""
    return ended.error is not None and ended.error.code is ErrorCode.AUTH_CHECK_FAILED


def not_validated(validated: RunOutcome, validate_run_id: str | None, attempts: int, *, asked: bool) -> RunOutcome:
    """The AuthSession's login is not good, so no Attempt is made (contract 10, rule 4); or the Run was canceled."""
    if asked:
        return canceled(attempts)
    cause = validated.error or validated.reason
    message = f"The AuthSession could not be validated: {cause.message if cause else 'there was no outcome.'}"
    details: dict[str, Any] = {} if validate_run_id is None else {"validateRunId": validate_run_id}
    if validated.error is not None:
        details["error"] = validated.error.model_dump(mode="json", exclude_none=True)
    return RunOutcome(
        status=RunStatus.CANCELED,
        reason=RunReason(type=ReasonType.VALIDATE_FAILED, message=clip(message, MESSAGE_LIMIT), details=details),
        attempts=attempts,
    )


def of_lost_login_run(error: ChildWorkflowError) -> RunOutcome:
    """A Validate or Create whose workflow did not return an outcome: somebody ended it in Temporal itself."""
    if isinstance(error.cause, CancelledError):
        reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="It was canceled.")
        return RunOutcome(status=RunStatus.CANCELED, reason=reason)
    if isinstance(error.cause, TerminatedError):
        reason = RunReason(type=ReasonType.TERMINATED, message="It was terminated.")
        return RunOutcome(status=RunStatus.CANCELED, reason=reason)
    message = clip(f"It ended by an error of Callboard: {error.cause}", MESSAGE_LIMIT)
    return RunOutcome(
        status=RunStatus.FAILED,
        error=RunError(
            code=ErrorCode.INTERNAL_SERVER_ERROR, category="infrastructure", message=message, retirable=True
        ),
    )


def is_lost(error: ActivityError) -> bool:
    """Whether an Attempt was lost with its worker, or given up by it."""
    return of_lost_attempt(error).status is AttemptStatus.INTERRUPTED


def is_unknown_activity(error: ActivityError) -> bool:
    """Whether the worker that took it does not know such an activity: it is an older one."""
    return isinstance(error.cause, ApplicationError) and error.cause.type == "NotFoundError"


def lost_run(error: ActivityError) -> str | None:
    """The Run whose Attempt was lost; None: its worker could not say."""
    match error.cause:
        case ApplicationError(type=kind, details=[run_id, *_]) if kind == INTERRUPTED:
            return str(run_id)
        case _:
            return None


def failed_for_good(ended: AttemptOutcome, number: int) -> RunOutcome:
    """No further Attempt can help: the Run carries the Attempt's own error."""
    return RunOutcome(status=RunStatus.FAILED, error=_error_of(ended), attempts=number)


def attempts_failed(ended: AttemptOutcome, number: int) -> RunOutcome:
    """No Attempt is left: the wrapper code, with the last Attempt's error inside."""
    last = _error_of(ended)
    error = RunError(
        code=ErrorCode.API_ATTEMPTS_FAILED,
        category=last.category,
        message=last.message,
        retirable=last.retirable,
        details={
            "attempts_count": number,
            "last_error": {"code": last.code.value, "category": last.category, "message": last.message},
        },
    )
    return RunOutcome(status=RunStatus.FAILED, error=error, attempts=number)


def of_lost_attempt(error: ActivityError) -> AttemptOutcome:
    """An Attempt whose activity did not return an outcome."""
    match error.cause:
        case CancelledError():
            return AttemptOutcome(status=AttemptStatus.CANCELED)
        case TemporalTimeoutError(type=TimeoutType.START_TO_CLOSE):
            message = "The Attempt was still running at the limit of 12 hours."
            return _failed(ErrorCode.SCRIPT_TIMEOUT, "execution", message)
        case TemporalTimeoutError():
            return _interrupted("The worker that ran the Attempt was lost.")
        case ApplicationError(type=kind, message=message) if kind == INTERRUPTED:
            return _interrupted(message)
        case ApplicationError(type=kind, message=message) if kind in (AUTH_SESSION_GONE, NO_LOGIN):
            return _failed(ErrorCode.AUTH_CHECK_FAILED, "auth", message)
        case cause:
            message = clip(f"The worker could not carry out the Attempt: {cause}", MESSAGE_LIMIT)
            return _failed(ErrorCode.INTERNAL_SERVER_ERROR, "infrastructure", message)


def _error_of(ended: AttemptOutcome) -> RunError:
    if ended.error is None:
        raise ValueError(f"An Attempt that is {ended.status} has no error")
    return ended.error


def _interrupted(message: str) -> AttemptOutcome:
    lost = RunError(code=ErrorCode.SCRIPT_PROCESS_CRASHED, category="infrastructure", message=message, retirable=True)
    return AttemptOutcome(status=AttemptStatus.INTERRUPTED, error=lost)


def _failed(code: ErrorCode, category: Category, message: str) -> AttemptOutcome:
    error = RunError(code=code, category=category, message=message, retirable=True)
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error)
