"""What the end of checks and creates means for their Run: pure functions (contract 10 and 10.1)."""

from __future__ import annotations

from temporalio.exceptions import ActivityError, ApplicationError

from contract.flow.attempt import ATTEMPT_FAILED, AUTH_SESSION_GONE, NO_LOGIN, AttemptStatus, FailedTry, Tried
from contract.flow.auth import LoginState
from contract.flow.base import JsonText
from contract.flow.run import ErrorCode, ReasonType, RunError, RunOutcome, RunReason, RunStatus
from workflows import verdict

_NOTHING = JsonText(text="null", size=4)


def of_lost_tries(error: ActivityError, *, begun: int, last: int) -> Tried:
    """The tries whose activity did not return an outcome.

    Args:
        error: How it ended.
        begun: The number of the last try that is known to have begun, or would have.
        last: The number of the last one that was allowed.
    """
    cause = error.cause
    if isinstance(cause, ApplicationError) and cause.type == ATTEMPT_FAILED:
        failed = FailedTry.model_validate(cause.details[0])
        final = cause.non_retryable
        return Tried(
            status=AttemptStatus.FAILED,
            number=failed.number,
            error=failed.error,
            seen=None if final else failed.login,
            final=final,
            started_at=failed.started_at,
        )
    if isinstance(cause, ApplicationError) and cause.type == NO_LOGIN:
        seen, number = map(int, cause.details)
        error_of_it = _auth_error(cause.message)
        return Tried(status=AttemptStatus.FAILED, number=number, error=error_of_it, seen=seen, none_to_see=True)
    if isinstance(cause, ApplicationError) and cause.type == AUTH_SESSION_GONE:
        number = int(cause.details[0])
        return Tried(status=AttemptStatus.FAILED, number=number, error=_auth_error(cause.message), final=True)
    lost = verdict.of_lost_attempt(error)
    if lost.status is AttemptStatus.CANCELED:
        return Tried(status=lost.status, number=begun)
    return Tried(status=lost.status, number=last, error=lost.error, final=lost.status is AttemptStatus.FAILED)


def nothing_more(check: Tried) -> Tried:
    """The check as one that nothing follows, however it ended: somebody does not want it any more."""
    return Tried(status=AttemptStatus.CANCELED, number=check.number, started_at=check.started_at)


def good(login: LoginState | None, attempts: int) -> RunOutcome:
    """The login is good."""
    return RunOutcome(status=RunStatus.COMPLETED, result=_NOTHING, login=login, attempts=attempts)


def failed(code: ErrorCode, tried: Tried) -> RunOutcome:
    """No try is left: the wrapper code, with the last error inside. A structural failure keeps its own."""
    if tried.status is AttemptStatus.CANCELED:
        return canceled(tried.number)
    last = tried.error or _auth_error("The Attempt ended without saying why.")
    if tried.final:
        return RunOutcome(status=RunStatus.FAILED, error=last, attempts=tried.number)
    error = RunError(
        code=code,
        category="auth",
        message=last.message,
        retirable=last.retirable,
        details={
            "attempts_count": tried.number,
            "last_error": {"code": last.code.value, "category": last.category, "message": last.message},
        },
    )
    return RunOutcome(status=RunStatus.FAILED, error=error, attempts=tried.number)


def failed_with(error: RunError, attempts: int) -> RunOutcome:
    """Another Run failed, on which this one depends."""
    return RunOutcome(status=RunStatus.FAILED, error=error, attempts=attempts)


def canceled(attempts: int) -> RunOutcome:
    """Somebody asked for it, or for the end of the Run that waits."""
    return RunOutcome(
        status=RunStatus.CANCELED,
        reason=RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled by request."),
        attempts=attempts,
    )


def gone(auth_session: str) -> RunError:
    """The AuthSession was deleted meanwhile."""
    return _auth_error(f"AuthSession {auth_session!r} is not there any more: it was deleted.")


def create_canceled(run_id: str) -> RunError:
    """The Create that all waited for was canceled."""
    return RunError(
        code=ErrorCode.CREATE_ATTEMPTS_FAILED,
        category="auth",
        message=f"The login was to be made anew by Run {run_id}, which was canceled.",
        retirable=True,
    )


def not_to_be_made(auth_session: str) -> RunError:
    """An AuthSession of the recorder cannot log in by itself."""
    return _auth_error(
        f"AuthSession {auth_session!r} was recorded, and cannot be made anew. Record and import it again."
    )


def _auth_error(message: str) -> RunError:
    return RunError(code=ErrorCode.CHECK_ATTEMPTS_FAILED, category="auth", message=message)
