"""Provide the activity with which a workflow reaches one worker process: stop an Attempt that runs there."""

from __future__ import annotations

from temporalio import activity

from activities.attempts.running_attempts import RunningAttempts
from schemas.workflow import names
from schemas.workflow.attempt import StopInput


class StopActivities:
    """The activities on the task queue of one worker process."""

    def __init__(self, running_attempts: RunningAttempts) -> None:
        self._running_attempts = running_attempts

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, input: StopInput) -> bool:
        """Stop the Attempt if it is here, without waiting for its end; return False if it is not here (any more)."""
        return self._running_attempts.stop(input.run_id, input.number)
