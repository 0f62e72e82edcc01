"""What `Validate` and `Create` share: checks and creates, each tried as often as Temporal's retry policy allows."""

from __future__ import annotations

from collections.abc import Coroutine
from datetime import timedelta
from typing import Any

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptStatus
    from callboard.schemas.workflow.run import RunOutcome, RunStatus
    from workflows import outcomes
    from workflows.auth_outcomes import AuthAttemptResult, from_activity_error, from_outcome
    from workflows.browser_workflow import MAXIMUM_INTERRUPTIONS
    from workflows.leasing_workflow import LeasingWorkflow


class AuthWorkflow(LeasingWorkflow):
    """Base class of the workflows that execute activities `check`, `create` and `record`."""

    def __init__(self) -> None:
        super().__init__()
        self._attempts = 0
        """How many Attempt numbers were taken."""

    async def _unless_canceled(self, steps: Coroutine[Any, Any, RunOutcome]) -> RunOutcome:
        """Return the outcome of the steps, or of a canceled Run.

        A Run that was canceled meanwhile, and has not completed, is a canceled one.
        """
        outcome = await steps
        if self._cancel_requested and outcome.status is not RunStatus.COMPLETED:
            return outcomes.canceled(self._attempts)
        return outcome

    async def _check(
        self, attempt: AttemptInput, tries: int, *, is_run_started: bool, queue_timeout: timedelta | None = None
    ) -> AuthAttemptResult:
        """Check until one check succeeds, at most `tries` times.

        Checks that were interrupted say nothing about the login, so they are repeated a few times. The first check may
        wait for a Machine as long as `queue_timeout`, and those that follow it as long as it takes.
        """
        interruptions = 0
        while True:
            # A time limit of an activity holds for each of its tries, so the first one is an activity of its own.
            tries_now = tries if queue_timeout is None else 1
            result = await self._execute_retryable(
                names.CHECK, attempt, tries_now, is_run_started=is_run_started, queue_timeout=queue_timeout
            )
            is_run_started, queue_timeout = True, None
            if self._cancel_requested or result.final:
                return result
            match result.status:
                case AttemptStatus.INTERRUPTED if interruptions < MAXIMUM_INTERRUPTIONS:
                    interruptions += 1
                case AttemptStatus.FAILED if tries_now < tries:
                    tries -= 1
                case _:
                    return result

    async def _execute_retryable(
        self,
        activity: str,
        attempt: AttemptInput,
        tries: int,
        *,
        is_run_started: bool,
        queue_timeout: timedelta | None = None,
    ) -> AuthAttemptResult:
        """Execute checks or creates until one succeeds, at most `tries` times, also if some are lost with workers."""
        first = self._attempts + 1
        policy = RetryPolicy(
            initial_interval=timedelta(milliseconds=1), backoff_coefficient=1.0, maximum_attempts=tries
        )
        try:
            outcome = await self._execute_browser_activity(
                activity,
                attempt.model_copy(update={"number": first}),
                activity_id=f"{activity}-{first}",
                retry_policy=policy,
                is_run_started=is_run_started,
                summary=f"{activity.capitalize()} (up to {tries} tries)",
                queue_timeout=queue_timeout,
                reads_variables=attempt.kind is not AttemptKind.RECORD,
            )
        except ActivityError as error:
            known = self._location.number if self._location else first
            result = from_activity_error(error, last_started=max(first, known), last_allowed=first + tries - 1)
            if result.status is AttemptStatus.INTERRUPTED:
                outcome = await self._find_outcome(attempt, result.number, result.error)
                result = result if outcome is None else from_outcome(outcome, result.number)
        else:
            number = self._attempts if outcome.status is AttemptStatus.CANCELED else first
            result = from_outcome(outcome, outcome.number or number)
        self._record_start(result.started_at, first=result.number == 1)
        self._attempts = result.number
        return result
