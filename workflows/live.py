"""The workflow `DialLive`: have the worker that executes an Attempt connect to the api that wants to watch it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.live import DialInput, DialOutcome

DIAL_TIMEOUT = timedelta(seconds=15)
"""How long a worker may take to take it up, and to have the Attempt on its Machine: a person waits for the picture."""


@workflow.defn(name=names.DIAL_LIVE)
class DialLiveWorkflow:
    """One view of the browser of one Attempt, or a try of the way. Somebody waits for it: it is asked for once."""

    @workflow.run
    async def run(self, input: DialInput) -> DialOutcome:
        """Return whether the worker connects, and if not, why."""
        try:
            return await workflow.execute_activity(
                names.CONNECT_LIVE,
                input,
                result_type=DialOutcome,
                task_queue=names.worker_queue(input.worker),
                schedule_to_close_timeout=DIAL_TIMEOUT,
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary="Connect to the api that wants to watch",
            )
        except ActivityError:
            seconds = int(DIAL_TIMEOUT.total_seconds())
            problem = f"The worker {input.worker} has not answered within {seconds} seconds: it is gone, or too busy."
            return DialOutcome(is_connected=False, problem=problem)
