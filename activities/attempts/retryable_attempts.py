"""Execute the checks and creates that Temporal retries: each try is an Attempt with a number of its own."""

from __future__ import annotations

import logging
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.attempts.attempt_executor import AttemptExecutor
from activities.attempts.attempt_records import AttemptRecords
from schemas.errors import StoreError
from schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStatus,
    FailedAttemptDetails,
    InterruptedInput,
)
from schemas.workflow.run import ErrorCode
from telemetry import metrics

log = logging.getLogger(__name__)

_INTERRUPTED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long a try waits for the store to take the record of the lost try before it."""


class RetryableAttempts:
    """Executes tries of checks and creates."""

    def __init__(self, executor: AttemptExecutor, records: AttemptRecords) -> None:
        self._executor = executor
        self._records = records

    async def execute(self, attempt: AttemptInput) -> AttemptOutcome:
        """Execute the try that this activity is. Its failure is an exception, so that Temporal tries again.

        Raises:
            ApplicationError: Of type `AttemptFailed`, with `FailedAttemptDetails`; or what `AttemptExecutor` raises.
        """
        number = await self._next_number(attempt)
        if number > attempt.number:
            stored = await self._record_interrupted(attempt, number - 1)
            # A try that has failed was heard of, or counts as a lost one. None comes after one that has not failed,
            # unless Temporal has not heard of it.
            if stored is not None and stored.status is AttemptStatus.COMPLETED:
                return stored.model_copy(update={"number": number - 1})
        attempt = attempt.model_copy(update={"number": number})
        outcome = await self._executor.execute(attempt)
        _count(attempt, outcome)
        if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
            details = FailedAttemptDetails(
                number=number,
                error=outcome.error,
                login_version=outcome.login.login_version if outcome.login is not None else None,
                started_at=outcome.started_at,
            )
            raise ApplicationError(outcome.error.message, details, type=ATTEMPT_FAILED, non_retryable=outcome.final)
        return outcome.model_copy(update={"number": number})

    async def _next_number(self, attempt: AttemptInput) -> int:
        """Return the number of this try.

        Temporal counts tries from 1 again after a reset, but no number is used twice.
        """
        info = activity.info()
        number = attempt.number + info.attempt - 1
        if info.current_attempt_scheduled_time != info.scheduled_time:  # so this is not the first try
            while await self._records.exists(attempt.project, attempt.run_id, number):
                number += 1
        return number

    async def _record_interrupted(self, attempt: AttemptInput, number: int) -> AttemptOutcome | None:
        """Return the outcome that the try before this one has stored.

        Without one, record its end: if its worker was lost, nobody else writes it.
        """
        cause = "The worker that ran the Attempt was lost."
        execution_id = activity.info().workflow_run_id
        interrupted = InterruptedInput.of(attempt, number, cause=cause, execution_id=execution_id)
        try:
            return await self._records.record_interrupted(interrupted, within=_INTERRUPTED_RECORD_TIMEOUT)
        except StoreError:
            log.exception("Run %s, Attempt %d: no record", attempt.run_id, number)
            return None


def _count(attempt: AttemptInput, outcome: AttemptOutcome) -> None:
    """Count what a check has found, or whether a create has made a login."""
    if attempt.kind is AttemptKind.CREATE:
        created = "created" if outcome.status is AttemptStatus.COMPLETED else outcome.status
        metrics.current().auth_session_created(attempt.project, created)
        return
    is_bad = outcome.error is not None and outcome.error.code is ErrorCode.AUTH_CHECK_FAILED
    found = "good" if outcome.status is AttemptStatus.COMPLETED else "bad" if is_bad else outcome.status
    metrics.current().auth_session_checked(attempt.project, found)
