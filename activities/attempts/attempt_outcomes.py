"""Build the outcome of an Attempt from its Machine's report; what the outcome refers to is stored before it."""

from __future__ import annotations

from activities.attempts.logins import Logins, OpenedLogin
from activities.store_retry import ATTEMPT_STORE_TIMEOUT, retry_store
from machines.attempt_spec import AttemptReport
from schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptOutcome, AttemptStatus
from schemas.workflow.base import INLINE_LIMIT, MESSAGE_LIMIT, JsonRef, clip
from schemas.workflow.run import ErrorCode, ReasonType, RunError, RunReason
from storage import keys
from storage.store import Store

_CHECK_FAILED = RunError(
    code=ErrorCode.AUTH_CHECK_FAILED,
    category="auth",
    message="auth-sessions/check.py does not find the login good: what it returned is not true.",
    retirable=True,
)

_STATE_NOT_CAPTURED = RunError(
    code=ErrorCode.INTERNAL_SERVER_ERROR,
    category="infrastructure",
    message="auth-sessions/create.py has ended, but the browser's state could not be captured.",
    retirable=True,
)


class AttemptOutcomes:
    """Builds outcomes of Attempts that came to their end on a Machine."""

    def __init__(self, store: Store, logins: Logins) -> None:
        self._store = store
        self._logins = logins

    async def from_report(
        self, attempt: AttemptInput, report: AttemptReport, opened_login: OpenedLogin | None
    ) -> AttemptOutcome:
        """Return the outcome; the result and the changed login are durable by then.

        Raises:
            StoreError: The store has not taken the result, or the state that a create made, for minutes.
        """
        login = opened_login.login if opened_login else None
        if report.status is not AttemptStatus.COMPLETED or report.result is None:
            return AttemptOutcome(status=AttemptStatus.FAILED, error=report.error, final=report.final, login=login)
        # The result of a check is `true` or `false`, as JSON text.
        if attempt.kind is AttemptKind.CHECK and report.result == "false":
            return AttemptOutcome(status=AttemptStatus.FAILED, error=_CHECK_FAILED, login=login)
        if attempt.auth is not None and attempt.kind is AttemptKind.CREATE:
            if report.storage_state is None:
                return AttemptOutcome(status=AttemptStatus.FAILED, error=_STATE_NOT_CAPTURED)
            login = await self._logins.save_created(attempt, attempt.auth, report.storage_state)
        elif attempt.auth is not None and opened_login is not None:
            login = await self._logins.save_refreshed(attempt, attempt.auth, opened_login, report.storage_state)
        if attempt.kind is not AttemptKind.API:
            return AttemptOutcome(status=AttemptStatus.COMPLETED, login=login)
        of = (attempt.project, attempt.run_id, attempt.number)
        payloads = report.extended_payloads
        return AttemptOutcome(
            status=AttemptStatus.COMPLETED,
            result=await self._inline_or_store(keys.result(*of), report.result),
            extended_payloads=(payloads and await self._inline_or_store(keys.extended_payloads(*of), payloads)) or None,
        )

    async def _inline_or_store(self, key: str, text: str) -> JsonRef:
        """Inline a small text into the outcome; store a large one before the outcome is returned."""
        if len(text) <= INLINE_LIMIT:
            return JsonRef(text=text, size=len(text))
        await retry_store(ATTEMPT_STORE_TIMEOUT, lambda: self._store.put(key, text.encode()))
        return JsonRef(key=key, size=len(text))


def access_disabled(project: str) -> AttemptOutcome:
    """Return the outcome of an Attempt of a project whose API access was turned off meanwhile."""
    message = f"API access of project {project} was turned off (apiAccess.enabled is false) while the Run waited."
    reason = RunReason(type=ReasonType.API_ACCESS_DISABLED, message=message)
    return AttemptOutcome(status=AttemptStatus.CANCELED, reason=reason)


def not_started(message: str) -> AttemptOutcome:
    """Return the outcome of an Attempt that could not be started on a Machine."""
    return _failed(f"The Attempt could not begin: {message}")


def store_failed(message: str) -> AttemptOutcome:
    """Return the outcome of an Attempt for which the store has failed for so long that no further Attempt can help."""
    return _failed(f"The artifact store failed: {message}", final=True)


def _failed(message: str, *, final: bool = False) -> AttemptOutcome:
    error = RunError(
        code=ErrorCode.INTERNAL_SERVER_ERROR,
        category="infrastructure",
        message=clip(message, MESSAGE_LIMIT),
        retirable=True,
    )
    return AttemptOutcome(status=AttemptStatus.FAILED, error=error, final=final)
