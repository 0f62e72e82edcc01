"""Implement the activities of a Delivery: write down what is sent, and send it (docs/contract.md, section 11)."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from activities.background import forward_cancellation
from activities.deliveries.delivery_records import DeliveryRecords
from activities.deliveries.delivery_sender import DeliverySender, SendResult
from activities.deliveries.payload import GoneError, body_of
from activities.heartbeat import heartbeats, record_heartbeat
from schemas.workflow import names
from schemas.workflow.base import MESSAGE_LIMIT, clip
from schemas.workflow.delivery import GIVEN_UP, TRY_FAILED, DeliverInput, Prepared, TryInput
from schemas.workflow.run import RunOutcome, RunStatus
from schemas.workflow.sink import DeliverySchedule
from storage import keys
from storage.store import Store
from temporal.closing import wait_for_outcome


class DeliverActivities:
    """The activities of a Delivery, with the services that they need."""

    def __init__(self, *, client: Client, store: Store, delivery_sender: DeliverySender) -> None:
        """Set up without sending anything yet.

        Args:
            client: The Temporal client, to wait for the end of Runs.
            store: The artifact store, which holds results, what is sent, and the records of tries.
            delivery_sender: Sends the requests.
        """
        self._client = client
        self._store = store
        self._tries = DeliveryRecords(store)
        self._delivery_sender = delivery_sender

    @activity.defn(name=names.PREPARE_DELIVERY)
    async def prepare_delivery(self, order: DeliverInput) -> Prepared:
        """Wait until the Run is closed, and store what is sent, once and for all.

        Raises:
            StoreError: The store failed; repeating helps.
        """
        key = keys.delivery_body(order.project, order.run_id, order.delivery_id)
        async with heartbeats():
            if await self._store.exists(key):
                return Prepared(body_key=key)
            outcome = await self._outcome(order.run_id)
            if outcome is None or outcome.status is RunStatus.CANCELED:
                return Prepared(why_not="The Run was ended in Temporal itself, and has no result to be delivered.")
            try:
                body = await body_of(order, outcome, self._store)
            except GoneError as error:
                return Prepared(why_not=str(error))
            await self._store.put(key, body)
        return Prepared(body_key=key)

    @activity.defn(name=names.SEND_DELIVERY)
    async def send_delivery(self, order: TryInput) -> None:
        """Make one try of the Delivery, and record it before this ends, whatever comes of it.

        A pause or reset in Temporal, or a request for another Delivery, lets the try come to its end; only what would
        take its worker or its place from it stops it.

        Raises:
            ApplicationError: Of type `TryFailed`; or `GivenUp`, if no other try can do better.
        """
        for began in activity.info().heartbeat_details[:1]:
            await self._tries.write_lost(order.order, began)
        at = datetime.now(UTC)
        sending = asyncio.create_task(self._send(order, at), name="send a Delivery")

        def on_cancellation(details: ActivityCancellationDetails | None) -> None:
            if details is None or details.worker_shutdown or details.not_found or details.timed_out:
                sending.cancel()

        async def write_down() -> SendResult:
            async with heartbeats(on_cancellation, details=lambda: [at.isoformat()]):
                came = await sending
                await self._tries.write(order.order, came.record)
                return came

        came = await forward_cancellation(write_down(), on_cancellation)
        if came.failure is not None:
            raise _failed(came, came.failure, order.order.sink.schedule)

    async def _send(self, order: TryInput, at: datetime) -> SendResult:
        """Send the Delivery, after recording that this try began: the next try is told so if the worker is lost."""
        told = await record_heartbeat(at.isoformat())
        if told is not None and told.not_found:
            raise ApplicationError("Temporal has given this try up; nothing was sent.", type=TRY_FAILED)
        return await self._delivery_sender.once(order, at)

    async def _outcome(self, run_id: str) -> RunOutcome | None:
        """Return how the Run ended, once it is closed; None if Temporal does not know it any more."""
        try:
            return await wait_for_outcome(self._client.get_workflow_handle(run_id, result_type=RunOutcome))
        except RPCError as error:
            if error.status is RPCStatusCode.NOT_FOUND:
                return None
            raise


def _failed(came: SendResult, failure: str, schedule: DeliverySchedule) -> ApplicationError:
    return ApplicationError(
        clip(failure, MESSAGE_LIMIT),
        type=GIVEN_UP if came.final else TRY_FAILED,
        non_retryable=came.final,
        category=ApplicationErrorCategory.BENIGN,  # a receiver that is down is not worth a line in the worker's log
        next_retry_delay=_next_delay(came.retry_after, schedule, activity.info().attempt),
    )


def _next_delay(asked: timedelta | None, schedule: DeliverySchedule, attempt: int) -> timedelta | None:
    """Return the delay that the receiver asked for, up to the longest delay, if the next try would come sooner.

    None leaves the delay to the schedule, so that a receiver that always says "at once" is not asked without end.
    """
    if asked is None:
        return None
    planned = schedule.first_delay
    for _ in range(attempt - 1):
        planned = min(planned * schedule.factor, schedule.max_delay)
    return min(asked, schedule.max_delay) if asked > planned else None
