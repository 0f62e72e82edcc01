"""A stage for Deliveries: the real workflow, with tries that play a script; and every shape that it can take.

The tests and `hosting/scripts/record_histories.py` play the same shapes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import (
    GIVEN_UP,
    TRY_FAILED,
    DeliverInput,
    DeliveryOutcome,
    PreparedDelivery,
    SendInput,
)
from callboard.schemas.workflow.sink import DeliverySchedule
from callboard.security.sealed_sinks import delivery_schedule
from callboard.settings import Settings
from callboard.temporal.closing import wait_for_delivery
from tests.support.delivery_inputs import QUICK, delivery, webhook
from tests.support.polling import until
from tests.support.stage import DEADLINE, Held, Stage, keep, shape
from workflows.deliver import DeliverWorkflow

DEFAULT = delivery_schedule(Settings())
"""The schedule that an operator has who sets nothing."""

HOURLY = DEFAULT.model_copy(update=dict.fromkeys(("first_delay", "max_delay"), timedelta(hours=1)))

Try = Callable[[], Awaitable[None]]


async def arrives() -> None:
    pass


async def fails() -> None:
    raise problem("The receiver answered 500.", TRY_FAILED)


async def asks_to_wait() -> None:
    raise problem("The receiver answered 429.", TRY_FAILED, next_retry_delay=timedelta(minutes=3))


async def is_gone() -> None:
    raise problem("The receiver answered 410.", GIVEN_UP, non_retryable=True)


def problem(message: str, kind: str, **options: Any) -> ApplicationError:
    return ApplicationError(message, type=kind, category=ApplicationErrorCategory.BENIGN, **options)


class HeldTry(Held[Try]):
    """A try that lasts until it is told to end; like a real one, it is not ended by a cancel."""

    def __init__(self, then: Try = arrives) -> None:
        super().__init__(then, ends_by_cancel=False)

    async def __call__(self) -> None:
        then = await self.hold()
        await then()


class DeliveryStage(Stage):
    """A Delivery whose tries follow a script."""

    def __init__(self, client: Client, name: str) -> None:
        super().__init__(client, name)
        self.script: list[Try] = []
        """What the first tries do; those that follow do what the last one did."""
        self.prepared = PreparedDelivery(body_key="runs/shop/run-1/deliveries/sink/body.json")
        self.prepares = 0
        self.before_prepared: Try = arrives
        """What comes before what is sent is prepared."""
        self.at: list[datetime] = []
        """When each try began, by the server's clock."""
        self.inputs: list[SendInput] = []
        self.outcome: DeliveryOutcome | None = None
        """Set by whoever has waited for it."""

    @property
    def handle(self) -> WorkflowHandle[Any, DeliveryOutcome]:
        return self.client.get_workflow_handle(
            names.delivery_workflow_id(self.name, names.SINK_DELIVERY), result_type=DeliveryOutcome
        )

    async def serve(self, *script: Try) -> None:
        """Serve the workflow, and its tries by this script."""
        self.script = [*script]

        @activity.defn(name=names.PREPARE_DELIVERY)
        async def prepare(_input: DeliverInput) -> PreparedDelivery:
            self.prepares += 1
            await self.before_prepared()
            return self.prepared

        @activity.defn(name=names.SEND_DELIVERY)
        async def send(input: SendInput) -> None:
            self.inputs.append(input)
            self.at.append(activity.info().started_time)
            await (self.script.pop(0) if len(self.script) > 1 else self.script[0])()

        await self.work(self.queue, [prepare, send], workflows=[DeliverWorkflow])

    async def start(self, schedule: DeliverySchedule = DEFAULT, **options: Any) -> WorkflowHandle[Any, DeliveryOutcome]:
        return await self.client.start_workflow(
            DeliverWorkflow.run,
            delivery(webhook("https://hook.example"), schedule=schedule),
            id=self.handle.id,
            task_queue=self.queue,
            **options,
        )

    async def until_tried(self, times: int) -> None:
        await until(lambda: len(self.at) >= times, DEADLINE)

    async def ended(self) -> None:
        """Wait for its outcome."""
        self.outcome = await asyncio.wait_for(wait_for_delivery(self.handle), DEADLINE)


# Shapes.


def _scripted(name: str, *script: Try, schedule: DeliverySchedule = DEFAULT, reason: str | None = None) -> None:
    """Keep a shape whose tries do this; with a reason, there is nothing to be sent."""

    async def play(stage: DeliveryStage) -> None:
        if reason is not None:
            stage.prepared = PreparedDelivery(reason=reason)
        await stage.serve(*script)
        await stage.start(schedule)
        await stage.ended()

    keep(name, DeliveryStage, play)


_scripted("delivery-arrives", fails, arrives, schedule=QUICK)
_scripted("delivery-given-up", is_gone)
_scripted("delivery-out-of-time", fails, schedule=QUICK.model_copy(update={"give_up_after": timedelta(seconds=0.5)}))
_scripted(
    "delivery-of-nothing", arrives, reason="The Run was ended in Temporal itself, and has no result to be delivered."
)


@shape(DeliveryStage)
async def delivery_asked_for_as_it_waits(stage: DeliveryStage) -> None:
    await stage.serve(fails, fails, arrives)
    await stage.start(HOURLY)
    await stage.until_tried(1)
    for times in (2, 3):
        await stage.handle.signal(names.REDELIVER)
        await stage.until_tried(times)
    await stage.ended()


def _asked_for_as_it_is_sent(name: str, then: Try) -> None:
    """Keep a shape whose first try ends so, after another one was asked for."""

    async def play(stage: DeliveryStage) -> None:
        held = HeldTry(then)
        await stage.serve(held, arrives)
        await stage.start(HOURLY)
        await held.began.wait()
        await stage.handle.signal(names.REDELIVER)
        await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
        assert len(stage.at) == 1, "what is under way comes to its end first"
        held.end()
        await stage.ended()

    keep(name, DeliveryStage, play)


_asked_for_as_it_is_sent("delivery-asked-for-as-it-arrives", arrives)
_asked_for_as_it_is_sent("delivery-asked-for-as-it-fails", fails)


@shape(DeliveryStage)
async def delivery_canceled_as_it_waits(stage: DeliveryStage) -> None:
    await stage.serve(fails)
    await stage.start(HOURLY)
    await stage.until_tried(1)
    await stage.handle.cancel()
    await stage.ended()


async def _canceled_while(held: HeldTry, stage: DeliveryStage) -> None:
    await stage.start(HOURLY)
    await held.began.wait()
    await stage.handle.cancel()
    await stage.until("ACTIVITY_TASK_CANCEL_REQUESTED")
    assert (await stage.handle.describe()).close_time is None, "what is under way comes to its end first"
    held.end()
    await stage.ended()


@shape(DeliveryStage)
async def delivery_canceled_as_it_fails(stage: DeliveryStage) -> None:
    held = HeldTry(fails)
    await stage.serve(held)
    await _canceled_while(held, stage)


@shape(DeliveryStage)
async def delivery_canceled_before_it_is_sent(stage: DeliveryStage) -> None:
    stage.before_prepared = held = HeldTry()
    await stage.serve(arrives)
    await _canceled_while(held, stage)


@shape(DeliveryStage)
async def delivery_once_more(stage: DeliveryStage) -> None:
    await stage.serve(arrives)
    await (await stage.start()).result()
    await stage.start(start_signal=names.REDELIVER)
    await stage.ended()
