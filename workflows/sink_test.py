"""The workflow `SinkTest`: send one message to a sink by the workers that deliver, and return the result."""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.delivery import SinkTestInput, SinkTestOutcome

_OVERHEAD = timedelta(seconds=10)
"""Time that the activity may need beyond that of the try: to read the beginning of an answer that comes slowly."""


@workflow.defn(name=names.SINK_TEST)
class SinkTestWorkflow:
    """One test of a sink. Somebody waits for it: it is sent once, or not at all."""

    @workflow.run
    async def run(self, input: SinkTestInput) -> SinkTestOutcome:
        """Send the test and return its result."""
        return await workflow.execute_activity(
            names.SEND_TEST,
            input,
            result_type=SinkTestOutcome,
            start_to_close_timeout=input.sink.schedule.timeout + _OVERHEAD,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary="Send a test to the sink",
        )
