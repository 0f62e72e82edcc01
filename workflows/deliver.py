"""The workflow `Deliver`: send a Run's result until it arrives or is given up. `SinkTest` sends one message by hand.

See docs/contract.md, section 11. What is told of a Handoff (section 22), of an alert (section 24) and of a JobRun goes
the same way.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import Priority, RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError, CancelledError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.base import MESSAGE_LIMIT, clip
    from callboard.schemas.workflow.delivery import (
        GIVEN_UP,
        NOTHING_TO_DELIVER,
        DeliverInput,
        DeliveryOutcome,
        DeliveryStatus,
        PreparedDelivery,
        SendInput,
        SinkTestInput,
        SinkTestOutcome,
        TryProblem,
    )
    from workflows.cancellation import end_of, finish
    from workflows.visibility import code_block

HEARTBEAT_TIMEOUT = timedelta(seconds=30)

TRY_OVERHEAD = timedelta(seconds=90)
"""Time that a try may need beyond its own: to read what is sent, and to record the result."""

TEST_OVERHEAD = timedelta(seconds=10)
"""Time that a test may need beyond its try: to read the beginning of an answer that comes slowly."""

PREPARE_TIMEOUT = timedelta(hours=1)
"""Time after which waiting for the Run's end is begun anew. That end comes, however long it takes."""


@workflow.defn(name=names.DELIVER)
class DeliverWorkflow:
    """One Delivery of one Run. It can be asked to send again, while it is in progress and after its end."""

    def __init__(self) -> None:
        self._redeliver_requested = False
        self._is_cancel_requested = False

    @workflow.run
    async def run(self, input: DeliverInput) -> DeliveryOutcome:
        """Wait until the Run is closed, then send the result, with the same bytes each time.

        A cancel request, as when the project is deleted, interrupts no step: once the workflow is closed, nothing of
        it writes any more.

        Raises:
            ApplicationError: The Delivery was given up, or there is nothing to deliver. The workflow closes as Failed,
                and the detail is the outcome.
            CancelledError: It was canceled before it arrived.
        """
        return await finish(self._deliver(input), self._cancel)

    def _cancel(self) -> None:
        self._is_cancel_requested = True

    async def _deliver(self, input: DeliverInput) -> DeliveryOutcome:
        prepared = PreparedDelivery()
        if input.is_stored:
            workflow.set_current_details("The Delivery waits until the Run is closed")
            try:
                prepared = await self._prepare(input)
            except ActivityError as error:
                return self._close(_failed(error))
            if prepared.body_key is None:
                reason = prepared.reason or "There is nothing to be delivered."
                problem = TryProblem(type=NOTHING_TO_DELIVER, message=reason)
                return self._close(DeliveryOutcome(status=DeliveryStatus.FAILED, error=problem))
        while True:
            self._redeliver_requested = False
            outcome = await self._send(SendInput(delivery=input, body_key=prepared.body_key))
            if not self._redeliver_requested or self._is_cancel_requested:
                return self._close(outcome)

    async def _prepare(self, delivery: DeliverInput) -> PreparedDelivery:
        handle = workflow.start_activity(
            names.PREPARE_DELIVERY,
            delivery,
            result_type=PreparedDelivery,
            start_to_close_timeout=PREPARE_TIMEOUT,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=_priority(delivery),
            summary="Wait until the Run is closed, and store what is sent",
        )
        return await end_of(handle, lambda: self._is_cancel_requested)

    async def _send(self, send_input: SendInput) -> DeliveryOutcome:
        """Send by the schedule; end early when the Delivery is requested once more, which begins another schedule."""
        schedule = send_input.delivery.sink.schedule
        workflow.set_current_details("The message is being sent")
        handle = workflow.start_activity(
            names.SEND_DELIVERY,
            send_input,
            schedule_to_close_timeout=schedule.give_up_after,
            start_to_close_timeout=schedule.timeout + TRY_OVERHEAD,
            heartbeat_timeout=HEARTBEAT_TIMEOUT,
            retry_policy=RetryPolicy(
                initial_interval=schedule.first_delay,
                backoff_coefficient=schedule.factor,
                maximum_interval=schedule.max_delay,
            ),
            # A try that is in progress comes to its end, and is recorded; one that waits ends at once.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            priority=_priority(send_input.delivery),
            summary=f"Send to {send_input.delivery.sink.target}",
        )
        try:
            await end_of(handle, lambda: self._redeliver_requested or self._is_cancel_requested)
        except ActivityError as error:
            return _failed(error)
        return DeliveryOutcome(status=DeliveryStatus.DELIVERED)

    @workflow.signal(name=names.REDELIVER)
    def redeliver(self) -> None:
        """Send again now, and by a new schedule."""
        self._redeliver_requested = True

    def _close(self, outcome: DeliveryOutcome) -> DeliveryOutcome:
        if outcome.error is None:
            workflow.set_current_details("The message was delivered")
            return outcome
        if self._is_cancel_requested:
            raise CancelledError("The Delivery was canceled.")
        was_sent = outcome.error.type != NOTHING_TO_DELIVER
        headline = "The Delivery was given up" if was_sent else "There is nothing to deliver"
        workflow.set_current_details(f"{headline}:{code_block(outcome.error.message)}")
        raise ApplicationError(outcome.error.message, outcome, type=outcome.error.type, non_retryable=True)


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
            start_to_close_timeout=input.sink.schedule.timeout + TEST_OVERHEAD,
            retry_policy=RetryPolicy(maximum_attempts=1),
            summary="Send a test to the sink",
        )


def _priority(delivery: DeliverInput) -> Priority:
    """Return the priority of activities, also of a Delivery that was started without a fairness key."""
    return Priority(fairness_key=delivery.sink.fairness_key)


def _failed(error: ActivityError) -> DeliveryOutcome:
    """Return the outcome of a Delivery that was given up: by the receiver's answer, or because its time is over."""
    kind = GIVEN_UP
    match error.cause:
        case ApplicationError(type=found, message=message) if found == NOTHING_TO_DELIVER:
            kind = NOTHING_TO_DELIVER
        case ApplicationError(message=message) | TemporalTimeoutError(cause=ApplicationError(message=message)):
            pass  # of the last try
        case TemporalTimeoutError():
            message = "The time for it is over, and no try has ended."
        case cause:
            message = clip(f"It was ended: {cause}", MESSAGE_LIMIT)
    return DeliveryOutcome(status=DeliveryStatus.FAILED, error=TryProblem(type=kind, message=message))
