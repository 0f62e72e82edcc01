"""Implement the workflow `SinkTest`: send one message to a sink by the workers that deliver, and return the result."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome

BEYOND_A_TRY = timedelta(seconds=10)
"""Time that the activity may need beyond that of the try: to read the beginning of an answer that comes slowly."""


@workflow.defn(name=names.SINK_TEST)
class SinkTestWorkflow:
    """One test of a sink. Somebody waits for it: it is sent once, or not at all."""

    @workflow.run
    async def run(self, order: SinkTestInput) -> SinkTestOutcome:
        """Send the test and return its result."""
        return await workflow.execute_activity(
            names.SEND_TEST,
            order,
            result_type=SinkTestOutcome,
            start_to_close_timeout=order.sink.schedule.timeout + BEYOND_A_TRY,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary="Send a test to the sink",
        )
