"""A stage for Deliveries: the real workflow, with tries that play a script; and every shape that it can take.

The tests and `hosting/scripts/record_histories.py` play the same shapes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.api.enums.v1 import EventType
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
from tests.support.run_stage import DEADLINE, staged_worker
from workflows.deliver import DeliverWorkflow

DEFAULT = delivery_schedule(Settings())
"""The schedule that an operator has who sets nothing."""

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


class HeldTry:
    """A try that lasts until it is told to end; like a real one, it is not ended by a cancel."""

    def __init__(self, then: Try = arrives) -> None:
        self.began = asyncio.Event()
        self.end = asyncio.Event()
        self._then = then

    async def __call__(self) -> None:
        self.began.set()
        while not self.end.is_set():
            activity.heartbeat()
            with suppress(TimeoutError, asyncio.CancelledError):
                await asyncio.wait_for(self.end.wait(), 0.02)
        await self._then()


@dataclass
class Play:
    """A Delivery whose tries follow a script; the last one is repeated."""

    client: Client
    queue: str
    script: list[Try]
    prepared: PreparedDelivery = field(
        default_factory=lambda: PreparedDelivery(body_key="runs/shop/run-1/deliveries/sink/body.json")
    )
    prepares: int = 0
    before_prepared: Try = arrives
    """What comes before what is sent is prepared."""
    at: list[datetime] = field(default_factory=list[datetime])
    """When each try began, by the server's clock."""
    inputs: list[SendInput] = field(default_factory=list[SendInput])
    outcome: DeliveryOutcome | None = None
    """Set by whoever has waited for it."""

    @property
    def handle(self) -> WorkflowHandle[Any, DeliveryOutcome]:
        return self.client.get_workflow_handle(
            names.delivery_workflow_id(self.queue, names.SINK_DELIVERY), result_type=DeliveryOutcome
        )

    async def start(self, schedule: DeliverySchedule = DEFAULT, **options: Any) -> WorkflowHandle[Any, DeliveryOutcome]:
        return await self.client.start_workflow(
            DeliverWorkflow.run,
            delivery(webhook("https://hook.example"), schedule=schedule),
            id=names.delivery_workflow_id(self.queue, names.SINK_DELIVERY),
            task_queue=self.queue,
            **options,
        )

    async def until(self, tries: int) -> None:
        await until(lambda: len(self.at) >= tries, DEADLINE)

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[None]:
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

        serving = staged_worker(
            self.client, self.queue, [prepare, send], workflows=[DeliverWorkflow], max_cached_workflows=0
        )
        async with serving:
            yield


@asynccontextmanager
async def playing(client: Client, name: str, *script: Try) -> AsyncGenerator[Play]:
    """On the client's server, for as long as the block lasts."""
    play = Play(client, name, list(script))
    async with play.served():
        yield play


def hourly() -> DeliverySchedule:
    hour = timedelta(hours=1)
    return DEFAULT.model_copy(update={"first_delay": hour, "max_delay": hour})


async def until_canceled(handle: WorkflowHandle[Any, Any]) -> None:
    """Until the workflow has asked for the end of what is under way."""
    wanted = EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED
    await until(
        handle.fetch_history, DEADLINE, true=lambda history: wanted in {each.event_type for each in history.events}
    )


# Shapes.

Shape = Callable[[Client, str], Awaitable[Play]]

DELIVERIES: dict[str, Shape] = {}


def _shape(shape: Shape) -> Shape:
    DELIVERIES[shape.__name__.replace("_", "-")] = shape
    return shape


async def _ended(play: Play, schedule: DeliverySchedule = DEFAULT) -> Play:
    handle = await play.start(schedule)
    play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
    return play


@_shape
async def delivery_arrives(client: Client, name: str) -> Play:
    async with playing(client, name, fails, arrives) as play:
        return await _ended(play, QUICK)


@_shape
async def delivery_given_up(client: Client, name: str) -> Play:
    async with playing(client, name, is_gone) as play:
        return await _ended(play)


@_shape
async def delivery_out_of_time(client: Client, name: str) -> Play:
    short = QUICK.model_copy(update={"give_up_after": timedelta(seconds=0.5)})
    async with playing(client, name, fails) as play:
        return await _ended(play, short)


@_shape
async def delivery_of_nothing(client: Client, name: str) -> Play:
    async with playing(client, name, arrives) as play:
        play.prepared = PreparedDelivery(
            reason="The Run was ended in Temporal itself, and has no result to be delivered."
        )
        return await _ended(play)


@_shape
async def delivery_asked_for_as_it_waits(client: Client, name: str) -> Play:
    async with playing(client, name, fails, fails, arrives) as play:
        handle = await play.start(hourly())
        await play.until(1)
        for tries in (2, 3):
            await handle.signal(names.REDELIVER)
            await play.until(tries)
        play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
        return play


async def _asked_for_as_it_is_sent(client: Client, name: str, then: Try) -> Play:
    held = HeldTry(then)
    async with playing(client, name, held, arrives) as play:
        handle = await play.start(hourly())
        await held.began.wait()
        await handle.signal(names.REDELIVER)
        await until_canceled(handle)
        assert len(play.at) == 1, "what is under way comes to its end first"
        held.end.set()
        play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
        return play


@_shape
async def delivery_asked_for_as_it_arrives(client: Client, name: str) -> Play:
    return await _asked_for_as_it_is_sent(client, name, arrives)


@_shape
async def delivery_asked_for_as_it_fails(client: Client, name: str) -> Play:
    return await _asked_for_as_it_is_sent(client, name, fails)


@_shape
async def delivery_canceled_as_it_waits(client: Client, name: str) -> Play:
    async with playing(client, name, fails) as play:
        handle = await play.start(hourly())
        await play.until(1)
        await handle.cancel()
        play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
        return play


async def _canceled_while(held: HeldTry, play: Play) -> Play:
    handle = await play.start(hourly())
    await held.began.wait()
    await handle.cancel()
    await until_canceled(handle)
    assert (await handle.describe()).close_time is None, "what is under way comes to its end first"
    held.end.set()
    play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
    return play


@_shape
async def delivery_canceled_as_it_fails(client: Client, name: str) -> Play:
    held = HeldTry(fails)
    async with playing(client, name, held) as play:
        return await _canceled_while(held, play)


@_shape
async def delivery_canceled_before_it_is_sent(client: Client, name: str) -> Play:
    held = HeldTry()
    async with playing(client, name, arrives) as play:
        play.before_prepared = held
        return await _canceled_while(held, play)


@_shape
async def delivery_once_more(client: Client, name: str) -> Play:
    async with playing(client, name, arrives) as play:
        await (await play.start()).result()
        handle = await play.start(start_signal=names.REDELIVER)
        play.outcome = await asyncio.wait_for(wait_for_delivery(handle), DEADLINE)
        return play
