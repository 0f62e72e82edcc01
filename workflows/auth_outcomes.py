"""Translate the end of checks and creates into the outcome of their Run (docs/contract.md, section 10.1)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from temporalio.exceptions import ActivityError, ApplicationError, TimeoutType
from temporalio.exceptions import TimeoutError as TemporalTimeoutError

from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    AUTH_SESSION_GONE,
    INTERRUPTED,
    NO_LOGIN,
    AttemptOutcome,
    AttemptStatus,
    FailedAttemptDetails,
)
from callboard.schemas.workflow.auth import LoginState
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import QUEUE_TIMED_OUT, ErrorCode, RunError, RunOutcome, RunReason, RunStatus
from workflows import outcomes

_NULL = JsonRef(text="null", size=4)


@dataclass(frozen=True, kw_only=True)
class AuthAttemptResult:
    """The result of all tries of one check or create."""

    status: AttemptStatus
    number: int
    """Number of the last try."""
    login: LoginState | None = None
    """The login that was found good, or created."""
    error: RunError | None = None
    """Error of the last try that failed."""
    reason: RunReason | None = None
    """Why the last try was canceled, if nobody asked for that."""
    bad_login_version: int | None = None
    """Version of the login that a check has found bad; None if the result says nothing about any login."""
    final: bool = False
    """Whether no further try can help, because the failure is structural."""
    started_at: datetime | None = None
    """When the last try began, as far as that is known."""


def from_activity_error(error: ActivityError, *, last_started: int, last_allowed: int) -> AuthAttemptResult:
    """Return the result of the tries whose activity did not return an outcome.

    Args:
        error: How the activity ended.
        last_started: The number of the last try that is known to have begun, or would have.
        last_allowed: The number of the last try that was allowed.
    """
    cause = error.cause
    if isinstance(cause, TemporalTimeoutError) and cause.type is TimeoutType.SCHEDULE_TO_START:
        return AuthAttemptResult(
            status=AttemptStatus.FAILED, number=last_started - 1, error=QUEUE_TIMED_OUT, final=True
        )
    if isinstance(cause, ApplicationError) and cause.type == ATTEMPT_FAILED:
        failed = FailedAttemptDetails.model_validate(cause.details[0])
        final = cause.non_retryable
        return AuthAttemptResult(
            status=AttemptStatus.FAILED,
            number=failed.number,
            error=failed.error,
            bad_login_version=None if final else failed.login_version,
            final=final,
            started_at=failed.started_at,
        )
    if isinstance(cause, ApplicationError) and cause.type == NO_LOGIN:
        version, number = map(int, cause.details)
        return AuthAttemptResult(
            status=AttemptStatus.FAILED, number=number, error=_auth_error(cause.message), bad_login_version=version
        )
    if isinstance(cause, ApplicationError) and cause.type == AUTH_SESSION_GONE:
        number = int(cause.details[0])
        return AuthAttemptResult(
            status=AttemptStatus.FAILED, number=number, error=_auth_error(cause.message), final=True
        )
    ended = outcomes.from_activity_error(error)
    if ended.status is AttemptStatus.CANCELED:
        return AuthAttemptResult(status=ended.status, number=last_started)
    if isinstance(cause, ApplicationError) and cause.type == INTERRUPTED and len(cause.details) > 1:
        # A try after a pause or reset in Temporal is beyond the last one.
        last_started = max(last_started, int(cause.details[1]))
    return AuthAttemptResult(
        status=ended.status,
        number=max(last_started, last_allowed),
        error=ended.error,
        final=ended.status is AttemptStatus.FAILED,
    )


def from_outcome(outcome: AttemptOutcome, number: int) -> AuthAttemptResult:
    """Return the result of a check or create whose last try, of this number, ended with this outcome."""
    is_bad = outcome.status is AttemptStatus.FAILED and not outcome.final
    return AuthAttemptResult(
        status=outcome.status,
        number=number,
        login=outcome.login if outcome.status is AttemptStatus.COMPLETED else None,
        error=outcome.error,
        reason=outcome.reason,
        bad_login_version=outcome.login.login_version if is_bad and outcome.login is not None else None,
        final=outcome.final,
        started_at=outcome.started_at,
    )


def completed(login: LoginState | None, attempts: int) -> RunOutcome:
    """Return the outcome of a Validate or Create whose login is good."""
    return RunOutcome(status=RunStatus.COMPLETED, result=_NULL, login=login, attempts=attempts)


def failed(code: ErrorCode, result: AuthAttemptResult) -> RunOutcome:
    """Return the outcome of a Run that has no try left: the wrapper code, with the last error inside.

    A structural failure keeps its own code.
    """
    if result.status is AttemptStatus.CANCELED:
        return outcomes.canceled(result.number, result.reason)
    last = result.error or _auth_error("The Attempt ended without saying why.")
    if result.final:
        return outcomes.failed_with(last, result.number)
    return outcomes.wrapped(code, "auth", last, result.number)


def auth_session_deleted(auth_session: str) -> RunError:
    """Return the error of a Run whose AuthSession was deleted in the meantime."""
    return _auth_error(f"AuthSession {auth_session!r} is not there any more: it was deleted.")


def create_canceled(run_id: str, reason: RunReason | None = None) -> RunError:
    """Return the error for all Validates that wait for a Create that was canceled, for this reason if there is one."""
    why = "" if reason is None else f" {reason.message}"
    return RunError(
        code=ErrorCode.CREATE_ATTEMPTS_FAILED,
        category="auth",
        message=f"The login was to be recreated by Run {run_id}, which was canceled.{why}",
        retirable=True,
    )


def not_recreatable(auth_session: str) -> RunError:
    """Return the error for a request to recreate the login of an AuthSession that was imported."""
    return _auth_error(
        f"The login of AuthSession {auth_session!r} was imported, and cannot be recreated. Record or import it again."
    )


def _auth_error(message: str) -> RunError:
    return RunError(code=ErrorCode.CHECK_ATTEMPTS_FAILED, category="auth", message=message)
