"""Implement the workflow `Deliver`: send a Run's result until it arrives or is given up.

See docs/contract.md, section 11.
"""

from __future__ import annotations

from datetime import timedelta

from temporalio import workflow
from temporalio.common import RetryPolicy
from temporalio.exceptions import ActivityError, ApplicationError
from temporalio.exceptions import TimeoutError as TemporalTimeoutError
from temporalio.workflow import ActivityCancellationType

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.base import MESSAGE_LIMIT, clip
    from schemas.workflow.delivery import (
        DeliverInput,
        DeliveryOutcome,
        DeliveryStatus,
        Prepared,
        TryInput,
        TryProblem,
    )
    from schemas.workflow.sink import DeliverySchedule
    from workflows.visibility import quoted

HEARTBEAT = timedelta(seconds=30)

BEYOND_A_TRY = timedelta(seconds=90)
"""Time that a try may need beyond its own: to read what is sent, and to record the result."""

LOOK_AGAIN = timedelta(hours=1)
"""Time after which waiting for the Run's end is begun anew. That end comes, however long it takes."""


@workflow.defn(name=names.DELIVER)
class DeliverWorkflow:
    """One Delivery of one Run. It can be asked to send again, while it is in progress and after its end."""

    def __init__(self) -> None:
        self._asked = False

    @workflow.run
    async def run(self, order: DeliverInput) -> DeliveryOutcome:
        """Wait until the Run is closed, then send the result, with the same bytes each time.

        Raises:
            ApplicationError: The Delivery was given up, and its workflow closes as Failed; the detail is its outcome.
        """
        workflow.set_current_details("The Delivery waits until the Run is closed")
        try:
            prepared = await self._prepare(order)
        except ActivityError as error:
            return self._ended(_failed(error))
        if prepared.body_key is None:
            return self._ended(_nothing_to_send(prepared))
        while True:
            self._asked = False
            outcome = await self._send(TryInput(order=order, body_key=prepared.body_key))
            if not self._asked:
                return self._ended(outcome)

    async def _prepare(self, order: DeliverInput) -> Prepared:
        return await workflow.execute_activity(
            names.PREPARE_DELIVERY,
            order,
            result_type=Prepared,
            start_to_close_timeout=LOOK_AGAIN,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=RetryPolicy(maximum_interval=timedelta(minutes=1)),
            summary="Wait until the Run is closed, and store what is sent",
        )

    async def _send(self, order: TryInput) -> DeliveryOutcome:
        """Send by the schedule; end early when the Delivery is requested once more, which begins another schedule."""
        schedule = order.order.sink.schedule
        workflow.set_current_details("The result is being sent")
        handle = workflow.start_activity(
            names.SEND_DELIVERY,
            order,
            schedule_to_close_timeout=schedule.give_up_after,
            start_to_close_timeout=schedule.timeout + BEYOND_A_TRY,
            heartbeat_timeout=HEARTBEAT,
            retry_policy=_policy(schedule),
            # A try that is in progress comes to its end, and is recorded; one that waits ends at once.
            cancellation_type=ActivityCancellationType.WAIT_CANCELLATION_COMPLETED,
            summary=f"Send to {order.order.sink.target}",
        )
        await workflow.wait_condition(lambda: handle.done() or self._asked)
        if not handle.done():
            handle.cancel()
        try:
            await handle
        except ActivityError as error:
            return _failed(error)
        return DeliveryOutcome(status=DeliveryStatus.DELIVERED)

    @workflow.signal(name=names.REDELIVER)
    def redeliver(self) -> None:
        """Send again now, and by a new schedule."""
        self._asked = True

    def _ended(self, outcome: DeliveryOutcome) -> DeliveryOutcome:
        if outcome.error is None:
            workflow.set_current_details("The result was delivered")
            return outcome
        workflow.set_current_details(f"The Delivery was given up:{quoted(outcome.error.message)}")
        raise ApplicationError(outcome.error.message, outcome, type=outcome.error.type, non_retryable=True)


def _policy(schedule: DeliverySchedule) -> RetryPolicy:
    return RetryPolicy(
        initial_interval=schedule.first_delay,
        backoff_coefficient=schedule.factor,
        maximum_interval=schedule.max_delay,
    )


def _nothing_to_send(prepared: Prepared) -> DeliveryOutcome:
    why = prepared.why_not or "There is nothing to be delivered."
    return DeliveryOutcome(status=DeliveryStatus.FAILED, error=TryProblem(type="NothingToDeliver", message=why))


def _failed(error: ActivityError) -> DeliveryOutcome:
    """Return the outcome of a Delivery that was given up: by the receiver's answer, or because its time is over."""
    match error.cause:
        case ApplicationError(message=message):
            problem = TryProblem(type="GivenUp", message=message)
        case TemporalTimeoutError(cause=ApplicationError(message=message)):  # the failure of the last try
            problem = TryProblem(type="GivenUp", message=message)
        case TemporalTimeoutError():
            problem = TryProblem(type="GivenUp", message="The time for it is over, and no try has come to its end.")
        case cause:
            problem = TryProblem(type="GivenUp", message=clip(f"It was ended: {cause}", MESSAGE_LIMIT))
    return DeliveryOutcome(status=DeliveryStatus.FAILED, error=problem)
