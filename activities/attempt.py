"""The activities `attempt`, `check` and `create`: each is one Attempt of user code on a Machine."""

from __future__ import annotations

from temporalio import activity
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.attempts.attempt_executor import AttemptExecutor
from activities.attempts.retryable_attempts import RetryableAttempts
from schemas.workflow import names
from schemas.workflow.attempt import ATTEMPT_FAILED, INTERRUPTED, AttemptInput, AttemptOutcome, AttemptStatus


class AttemptActivities:
    """The activities on the task queue of a project."""

    def __init__(self, executor: AttemptExecutor, retryable: RetryableAttempts) -> None:
        self._executor = executor
        self._retryable = retryable

    @activity.defn(name=names.ATTEMPT)
    async def attempt(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one Attempt of an API.

        Raises:
            ApplicationError: Of type `AttemptFailed`, with the outcome as its detail: the Attempt failed. Of type
                `AttemptInterrupted`: this worker could not finish the Attempt, and it does not count. Of type `NoLogin`
                or `AuthSessionGone`: the Attempt has no login to begin with.
        """
        if activity.info().attempt > 1:
            # The Run counts Attempts, and asks Temporal for one try of each. But an activity that fails or is lost
            # while it is paused is tried again when it is unpaused: the server does not look at the limit then.
            message = "The Attempt ended without an outcome while it was paused in Temporal."
            raise ApplicationError(message, input.run_id, input.number, type=INTERRUPTED, non_retryable=True)
        outcome = await self._executor.execute(input)
        if input.raises_failure and outcome.status is AttemptStatus.FAILED and outcome.error is not None:
            raise ApplicationError(
                outcome.error.message,
                outcome,
                type=ATTEMPT_FAILED,
                non_retryable=True,  # the Run counts Attempts
                category=ApplicationErrorCategory.BENIGN,  # an error of user code is told in the Attempt's own log
            )
        return outcome

    @activity.defn(name=names.CHECK)
    async def check(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one of the checks that Temporal's retry policy allows.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if the login is not good or the check failed.
        """
        return await self._retryable.execute(input)

    @activity.defn(name=names.CREATE_LOGIN)
    async def create(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one of the creates that Temporal's retry policy allows.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if the create failed.
        """
        return await self._retryable.execute(input)
