"""The activities that send to sinks: Deliveries, and tests by hand (docs/contract.md, section 11)."""

from __future__ import annotations

import asyncio
import logging
import secrets
from datetime import UTC, datetime, timedelta

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client, WorkflowFailureError
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError

from activities.deliveries.delivery_sender import DeliverySender, SendResult
from activities.deliveries.payload import (
    GoneError,
    alert_payload,
    delivery_payload,
    handoff_payload,
    notification_payload,
)
from activities.deliveries.receiver_limit import ReceiverBusyError, ReceiverLimit
from activities.heartbeat import forward_cancellation, heartbeats, record_heartbeat
from activities.store_retry import retry_store
from callboard.machines.uncancellable import uncancellable
from callboard.schemas.errors import StoreError
from callboard.schemas.rest.files import LinkedFile
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptRecord
from callboard.schemas.workflow.base import MESSAGE_LIMIT, JsonRef, clip
from callboard.schemas.workflow.delivery import (
    GIVEN_UP,
    NOTHING_TO_DELIVER,
    RECEIVER_BUSY,
    TRY_FAILED,
    DeliverInput,
    PreparedDelivery,
    SendInput,
    SinkTestInput,
    SinkTestOutcome,
    TryProblem,
    TryRecord,
)
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.job_run import JobRunView
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.schemas.workflow.sink import DeliverySchedule
from callboard.security.keyring import KeyRing
from callboard.security.pinned_transport import PinnedTransport
from callboard.security.signed_links import HandoffRef, handoff_link, link_files
from callboard.security.signing import WebhookSigner
from callboard.settings import Settings, installed_version
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.telemetry import metrics
from callboard.temporal.closing import wait_for_outcome, wait_for_result
from callboard.temporal.handoffs import read_handoffs
from callboard.temporal.rpc_errors import RPC_TIMEOUT, unless_missing

log = logging.getLogger(__name__)

_RECORD_TIMEOUT = timedelta(seconds=45)
"""How long the store is retried for the record of a try."""
_TEST_RESULT = '{"test": "This is a test of the sink, sent by hand from the Playground. No Run has this id."}'
_TEST_OUTCOME = RunOutcome(status=RunStatus.COMPLETED, result=JsonRef(text=_TEST_RESULT, size=len(_TEST_RESULT)))
"""Outcome of the Run that a test of a sink seems to deliver."""


class DeliveryActivities:
    """The activities of Deliveries and of tests of sinks, on the task queue of Deliveries."""

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        delivery_sender: DeliverySender,
        places: int,
        viewer_url: str | None = None,
        public_url: str | None = None,
        keyring: KeyRing | None = None,
    ) -> None:
        """Set up without sending anything yet. The worker executes as many activities at once as there are `places`.

        Files are told with links at `viewer_url`, and Handoffs with links at `public_url`, which the keyring seals;
        without both, they have none.
        """
        self._viewer_url = viewer_url if keyring else None
        self._public_url = public_url if keyring else None
        self._keyring = keyring or KeyRing(())
        self._client = client
        self._store = store
        self._delivery_sender = delivery_sender
        self._limit = ReceiverLimit(places)

    @classmethod
    def of(
        cls, settings: Settings, client: Client, store: Store, transport: PinnedTransport, *, places: int
    ) -> DeliveryActivities:
        """Return the activities of a worker with these settings, which executes so many at once.

        Whoever has opened the transport closes it.

        Raises:
            ConfigurationError: A key, or a secret for webhooks, cannot be used.
        """
        delivery_sender = DeliverySender(
            store=store,
            transport=transport,
            keyring=KeyRing.of(settings),
            signer=WebhookSigner([secret.get_secret_value() for secret in settings.webhook_secrets]),
            user_agent=f"callboard/{installed_version()}",
        )
        return cls(
            client=client,
            store=store,
            delivery_sender=delivery_sender,
            places=places,
            viewer_url=settings.viewer_url and settings.viewer_url.rstrip("/"),
            public_url=settings.public_url,
            keyring=KeyRing.of(settings) if settings.secret_key else None,
        )

    @activity.defn(name=names.PREPARE_DELIVERY)
    async def prepare_delivery(self, input: DeliverInput) -> PreparedDelivery:
        """Wait until the Run, or the JobRun, is closed, and store what is sent, once and for all.

        Raises:
            StoreError: The store failed; repeating helps.
        """
        key = object_keys.delivery_body(input.project, input.run_id, input.delivery_id)
        async with heartbeats():
            if await self._store.exists(key):
                return PreparedDelivery(body_key=key)
            if input.was_prepared:  # Its Run's artifacts are gone: they were old, or those of a deleted project.
                return PreparedDelivery(reason=f"{key} is not in the artifact store any more.")
            if input.is_notification:
                await self._store.put(key, await self._notification(input))
                return PreparedDelivery(body_key=key)
            outcome = await self._outcome(input.run_id)
            if outcome is None or outcome.status is RunStatus.CANCELED:
                return PreparedDelivery(
                    reason="The Run was ended in Temporal itself, and has no result to be delivered."
                )
            try:
                body = await delivery_payload(input, outcome, self._store, await self._files(input, outcome))
            except GoneError as error:
                return PreparedDelivery(reason=str(error))
            await self._store.put(key, body)
        return PreparedDelivery(body_key=key)

    async def _files(self, delivery: DeliverInput, outcome: RunOutcome) -> list[LinkedFile]:
        """Return the files of the Run, which its last Attempt has left. Raises StoreError."""
        if not outcome.files:
            return []
        of = (delivery.project, delivery.run_id, outcome.attempts)
        stored = await self._store.get(object_keys.record(*of))
        files = () if stored is None else AttemptRecord.model_validate_json(stored).files
        return link_files(files, delivery.workspace, *of, origin=self._viewer_url, ring=self._keyring)

    @activity.defn(name=names.SEND_DELIVERY)
    async def send_delivery(self, input: SendInput) -> None:
        """Make one try of the Delivery, and record how it ended.

        A pause or reset in Temporal, or a request for another Delivery, does not stop the try. Only the worker's
        shutdown, or Temporal giving the try up, stops it. If the receiver has as many tries under way as it may have,
        no try is made.

        Raises:
            ApplicationError: Of type `TryFailed`; `GivenUp`, if no other try can do better; or `ReceiverBusy`.
        """
        for started_at in activity.info().heartbeat_details[:1]:
            await self._record_lost(input.delivery, started_at)
        sink = input.delivery.sink
        try:
            with self._limit.hold_place(sink.receiver, longest_delay=sink.schedule.timeout):
                await self._try_and_record(input)
        except ReceiverBusyError as error:
            raise ApplicationError(
                str(error),
                type=RECEIVER_BUSY,
                category=ApplicationErrorCategory.BENIGN,
                next_retry_delay=error.delay,
            ) from error

    async def _try_and_record(self, input: SendInput) -> None:
        at = datetime.now(UTC)
        sending = asyncio.create_task(self._send(input, at), name="send a Delivery")

        def on_cancellation(details: ActivityCancellationDetails | None) -> None:
            if details is None or details.worker_shutdown or details.not_found or details.timed_out:
                sending.cancel()

        async def send_and_record() -> SendResult:
            async with heartbeats(on_cancellation, details=lambda: [at.isoformat()]):
                result = await sending
                await self._record(input.delivery, result.record)
                return result

        try:
            result = await forward_cancellation(send_and_record(), on_cancellation)
        except GoneError as error:  # A record would be the only thing in a folder that was removed.
            raise ApplicationError(str(error), type=GIVEN_UP, non_retryable=True) from error
        metrics.current().delivery_tried(sink=input.delivery.sink.kind, outcome=_outcome_of(result))
        if result.failure is not None:
            raise await self._try_failure(result, result.failure, input.delivery)

    @activity.defn(name=names.SEND_TEST)
    async def send_test(self, input: SinkTestInput) -> SinkTestOutcome:
        """Send a message to a sink once, as a Delivery would. A failure is an outcome, too, and is returned."""
        delivery = DeliverInput(
            workspace=input.workspace,
            project=input.project,
            run_id=input.test_id,
            delivery_id=names.SINK_DELIVERY,
            api=input.api,
            parameters=JsonRef(text="{}", size=2),
            sink=input.sink,
        )
        body = await delivery_payload(delivery, _TEST_OUTCOME, self._store)
        result = await self._delivery_sender.send(delivery, body, datetime.now(UTC))
        return SinkTestOutcome(record=result.record, failure=result.failure)

    async def _send(self, send_input: SendInput, at: datetime) -> SendResult:
        """Send the Delivery, after recording that this try began: the next try is told so if the worker is lost."""
        try:
            cancellation = await record_heartbeat(at.isoformat())
        except RPCError as error:  # at worst, a try that a lost worker has made goes without a record
            log.info("The start of a try of a Delivery could not be recorded: %s", error.message)
        else:
            if cancellation is not None and cancellation.not_found:
                raise ApplicationError("Temporal has given this try up; nothing was sent.", type=TRY_FAILED)
        delivery = send_input.delivery
        if send_input.body_key is not None:
            return await self._delivery_sender.send_stored(delivery, send_input.body_key, at)
        if delivery.alert is not None:
            return await self._delivery_sender.send(delivery, alert_payload(delivery.project, delivery.alert), at)
        if delivery.handoff is None:
            raise ValueError("What is sent is stored, or is of a Handoff or an alert")
        await self._require_open(delivery.handoff)
        return await self._tell_of(delivery, delivery.handoff, at)

    async def _require_open(self, handoff: Handoff) -> None:
        """Check that a Handoff still waits for a person. Raises ApplicationError if it does not, and RPCError."""
        run = self._client.get_workflow_handle(names.run_of_handoff(handoff.id))
        description = await unless_missing(run.describe(rpc_timeout=RPC_TIMEOUT))
        shown = [] if description is None else await read_handoffs(description)
        if not any(each.id == handoff.id and each.is_open for each in shown):
            message = "The question has ended, so nobody is told of it any more."
            raise ApplicationError(
                message, type=NOTHING_TO_DELIVER, non_retryable=True, category=ApplicationErrorCategory.BENIGN
            )

    async def _tell_of(self, delivery: DeliverInput, handoff: Handoff, at: datetime) -> SendResult:
        """Send what is told of a Handoff. Each try has a link of its own, which stands nowhere else."""
        url = None
        if self._public_url is not None:
            run_id, nonce = names.run_of_handoff(handoff.id), secrets.token_urlsafe(16)
            ref = HandoffRef(delivery.workspace, delivery.project, run_id, handoff.id, None, nonce)
            url, _ = handoff_link(ref, self._keyring, self._public_url, handoff.expires_at)
        return await self._delivery_sender.send(delivery, handoff_payload(delivery.project, handoff, url), at)

    async def _try_failure(self, result: SendResult, failure: str, delivery: DeliverInput) -> ApplicationError:
        attempt = activity.info().attempt
        tries = await self._count_tries(delivery) if attempt > 1 and not result.final else None
        tries = min(tries or attempt, attempt)  # After a reset in Temporal, attempts are counted anew.
        return ApplicationError(
            clip(failure, MESSAGE_LIMIT),
            type=GIVEN_UP if result.final else TRY_FAILED,
            non_retryable=result.final,
            category=ApplicationErrorCategory.BENIGN,  # a receiver that is down is not worth a line in the worker's log
            next_retry_delay=next_delay(result.retry_after, delivery.sink.schedule, tries, attempt),
        )

    async def _record(self, delivery: DeliverInput, record: TryRecord) -> None:
        """Write a record. A store that fails for long costs the record, not the Delivery."""
        key = _try_key(delivery, record.at)
        body = record.model_dump_json(exclude_none=True).encode()
        try:
            await retry_store(_RECORD_TIMEOUT, lambda: uncancellable(self._store.put(key, body)))
        except StoreError:
            log.exception("Run %s, Delivery %s: no record of a try", delivery.run_id, delivery.delivery_id)

    async def _count_tries(self, delivery: DeliverInput) -> int | None:
        """Return how many tries have been recorded; None if the store cannot say."""
        prefix = object_keys.delivery_tries(delivery.project, delivery.run_id, delivery.delivery_id)
        try:
            return len([key async for key in self._store.list(prefix)])
        except StoreError:
            log.exception("Run %s, Delivery %s: tries not counted", delivery.run_id, delivery.delivery_id)
            return None

    async def _record_lost(self, delivery: DeliverInput, began: str) -> None:
        """Record a try that began at this time, unless the worker that made it has recorded it."""
        at = datetime.fromisoformat(began)
        try:
            if await self._store.exists(_try_key(delivery, at)):
                return
        except StoreError:
            log.exception("Run %s, Delivery %s: no record of a lost try", delivery.run_id, delivery.delivery_id)
            return
        problem = TryProblem(type="WorkerLost", message="The worker was lost before it could say what came of it.")
        await self._record(delivery, TryRecord(at=at, error=problem))

    async def _outcome(self, run_id: str) -> RunOutcome | None:
        """Return how the Run ended, once it is closed; None if Temporal does not know it any more."""
        return await unless_missing(wait_for_outcome(self._client.get_workflow_handle(run_id, result_type=RunOutcome)))

    async def _notification(self, delivery: DeliverInput) -> bytes:
        """Return what is sent of a JobRun, once it is closed. Raises RPCError."""
        handle = self._client.get_workflow_handle(delivery.run_id, result_type=JobRunView)
        try:
            view = await wait_for_result(handle)
        except WorkflowFailureError:
            description = await handle.describe(rpc_timeout=RPC_TIMEOUT)
            view = await description.memo_value(names.MEMO_JOB_RUN, type_hint=JobRunView)
        return notification_payload(delivery.run_id, view)


def _try_key(delivery: DeliverInput, at: datetime) -> str:
    time = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return object_keys.delivery_try(delivery.project, delivery.run_id, delivery.delivery_id, time)


def _outcome_of(result: SendResult) -> str:
    """Return in one word what became of a try."""
    if result.failure is None:
        return "delivered"
    return "refused" if result.final else "failed"


def next_delay(requested: timedelta | None, schedule: DeliverySchedule, tries: int, attempt: int) -> timedelta | None:
    """Return the delay before the next try; None leaves it to the retry policy.

    A receiver may ask for a longer one, up to the longest delay; one that always says "at once" is not asked without
    end. The retry policy counts attempts of the activity, and some of them may have found the receiver busy.

    Args:
        requested: The delay that the receiver asked for.
        schedule: The schedule of the Delivery.
        tries: How many tries were made.
        attempt: How many attempts the activity had.
    """
    planned = schedule.first_delay
    for _ in range(tries - 1):
        planned = min(planned * schedule.factor, schedule.max_delay)
    if requested is not None and requested > planned:
        return min(requested, schedule.max_delay)
    return planned if tries < attempt else None
