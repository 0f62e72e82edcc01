"""The workflow `DialLive`: have the worker that executes an Attempt connect to the api that wants to watch it."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.live import DialInput

DIAL_TIMEOUT = timedelta(seconds=10)
"""How long a worker may take to take it up: a person waits for the picture."""


@workflow.defn(name=names.DIAL_LIVE)
class DialLiveWorkflow:
    """One view of the browser of one Attempt. Somebody waits for it: it is asked for once."""

    @workflow.run
    async def run(self, input: DialInput) -> bool:
        """Return whether the worker connects: it does not if the Attempt is not there (any more)."""
        try:
            return await workflow.execute_activity(
                names.CONNECT_LIVE,
                input,
                result_type=bool,
                task_queue=names.worker_queue(input.worker),
                schedule_to_close_timeout=DIAL_TIMEOUT,
                retry_policy=RetryPolicy(maximum_attempts=1),
                summary="Connect to the api that wants to watch",
            )
        except ActivityError:  # the worker is gone
            return False
