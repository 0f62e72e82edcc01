"""Workflow `Deliver` with scripted tries: its schedule, and what it is asked for meanwhile."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

from api.sinks import schedule_of
from contract.flow import names
from contract.flow.delivery import (
    GIVEN_UP,
    TRY_FAILED,
    DeliverInput,
    DeliveryOutcome,
    DeliveryStatus,
    Prepared,
    TryInput,
)
from contract.flow.sink import DeliverySchedule
from settings import Settings
from tests.deliveries import delivery, webhook
from tests.workflows.scripted import IDENTITY
from workflows.deliver import DeliverWorkflow

DEFAULT = schedule_of(Settings())
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


class Held:
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
    prepared: Prepared = field(default_factory=lambda: Prepared(body_key="runs/shop/run-1/deliveries/sink/body.json"))
    prepares: int = 0
    at: list[datetime] = field(default_factory=list[datetime])
    """When each try began, by the server's clock."""
    orders: list[TryInput] = field(default_factory=list[TryInput])

    async def start(self, schedule: DeliverySchedule = DEFAULT, **options: Any) -> WorkflowHandle[Any, DeliveryOutcome]:
        return await self.client.start_workflow(
            DeliverWorkflow.run,
            delivery(webhook("https://hook.example"), schedule=schedule),
            id=names.delivery_workflow(self.queue, names.SINK_DELIVERY),
            task_queue=self.queue,
            **options,
        )

    async def until(self, tries: int) -> None:
        async with asyncio.timeout(20):
            while len(self.at) < tries:
                await asyncio.sleep(0.01)

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[None]:
        @activity.defn(name=names.PREPARE_DELIVERY)
        async def prepare(_order: DeliverInput) -> Prepared:
            self.prepares += 1
            return self.prepared

        @activity.defn(name=names.SEND_DELIVERY)
        async def send(order: TryInput) -> None:
            self.orders.append(order)
            self.at.append(activity.info().started_time)
            await (self.script.pop(0) if len(self.script) > 1 else self.script[0])()

        async with Worker(
            self.client,
            task_queue=self.queue,
            workflows=[DeliverWorkflow],
            activities=[prepare, send],
            identity=IDENTITY,
            max_cached_workflows=0,
        ):
            yield


@asynccontextmanager
async def skipping(*script: Try) -> AsyncGenerator[Play]:
    """On a server whose clock goes on by itself while nothing is to be done."""
    program = Path(sys.executable).parent / "temporal-test-server"
    async with await WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(program), data_converter=pydantic_data_converter
    ) as environment:
        play = Play(environment.client, "skipping", list(script))
        async with play.served():
            yield play


@asynccontextmanager
async def playing(client: Client, name: str, *script: Try) -> AsyncGenerator[Play]:
    play = Play(client, name, list(script))
    async with play.served():
        yield play


def delays(at: Sequence[datetime]) -> list[int]:
    return [round((later - earlier).total_seconds()) for earlier, later in pairwise(at)]


async def test_a_receiver_that_never_answers_well_is_tried_for_a_day_ever_less_often() -> None:
    async with skipping(fails) as play:
        outcome = await (await play.start()).result()
    assert outcome.status is DeliveryStatus.FAILED
    assert outcome.error is not None
    assert outcome.error.message == "The receiver answered 500."
    waited = delays(play.at)
    assert waited[:9] == [1, 2, 4, 8, 16, 32, 64, 128, 256]
    assert set(waited[9:]) == {300}
    assert timedelta(hours=23, minutes=54) < play.at[-1] - play.at[0] <= timedelta(hours=24)
    assert len({order.model_dump_json() for order in play.orders}) == 1, "each try is the same"
    assert play.prepares == 1


async def test_what_a_receiver_asks_for_is_waited_for_and_then_the_schedule_goes_on() -> None:
    async with skipping(fails, asks_to_wait, fails, arrives) as play:
        outcome = await (await play.start()).result()
    assert outcome == DeliveryOutcome(status=DeliveryStatus.DELIVERED)
    assert delays(play.at) == [1, 180, 4]


async def test_a_delivery_that_arrives_is_sent_once(temporal: Client, name: str) -> None:
    async with playing(temporal, name, arrives) as play:
        assert (await (await play.start()).result()).status is DeliveryStatus.DELIVERED
    (order,) = play.orders
    assert order.body_key == play.prepared.body_key
    assert order.order == delivery(webhook("https://hook.example"), schedule=DEFAULT).model_copy(
        update={"sink": order.order.sink}
    )


async def test_a_receiver_that_wants_nothing_any_more_is_left_alone(temporal: Client, name: str) -> None:
    async with playing(temporal, name, is_gone) as play:
        outcome = await (await play.start()).result()
    assert (outcome.status, len(play.at)) == (DeliveryStatus.FAILED, 1)
    assert outcome.error is not None
    assert outcome.error.message == "The receiver answered 410."


async def test_a_run_without_a_result_is_not_delivered(temporal: Client, name: str) -> None:
    async with playing(temporal, name, arrives) as play:
        play.prepared = Prepared(why_not="The Run was ended.")
        outcome = await (await play.start()).result()
    assert (outcome.status, play.at) == (DeliveryStatus.FAILED, [])
    assert outcome.error is not None
    assert outcome.error.message == "The Run was ended."


async def test_asked_for_while_it_waits_it_is_sent_at_once(temporal: Client, name: str) -> None:
    async with playing(temporal, name, fails, fails, arrives) as play:
        handle = await play.start(hourly())
        await play.until(1)
        for tries in (2, 3):
            await handle.signal(names.REDELIVER)
            await play.until(tries)
        assert (await asyncio.wait_for(handle.result(), 20)).status is DeliveryStatus.DELIVERED


async def test_asked_for_while_it_is_being_sent_it_is_sent_once_more(temporal: Client, name: str) -> None:
    held = Held()
    async with playing(temporal, name, held, arrives) as play:
        handle = await play.start(hourly())
        await held.began.wait()
        await handle.signal(names.REDELIVER)
        await until_canceled(handle)
        assert len(play.at) == 1, "what is under way comes to its end first"
        held.end.set()
        assert (await asyncio.wait_for(handle.result(), 20)).status is DeliveryStatus.DELIVERED
    assert len(play.at) == 2


async def test_a_try_under_way_that_fails_when_it_was_asked_for_again_is_followed_by_another(
    temporal: Client, name: str
) -> None:
    held = Held(fails)
    async with playing(temporal, name, held, arrives) as play:
        handle = await play.start(hourly())
        await held.began.wait()
        await handle.signal(names.REDELIVER)
        await until_canceled(handle)
        held.end.set()
        assert (await asyncio.wait_for(handle.result(), 20)).status is DeliveryStatus.DELIVERED
    assert len(play.at) == 2


@pytest.mark.parametrize("end", [arrives, is_gone])
async def test_asked_for_after_its_end_it_is_sent_again(temporal: Client, name: str, end: Try) -> None:
    async with playing(temporal, name, end) as play:
        first = await (await play.start()).result()
        again = await play.start(start_signal=names.REDELIVER)
        assert await again.result() == first
    assert len(play.at) == 2, "once each time"
    assert play.prepares == 2
    assert play.orders[0].body_key == play.orders[1].body_key


def hourly() -> DeliverySchedule:
    hour = timedelta(hours=1)
    return DEFAULT.model_copy(update={"first_delay": hour, "max_delay": hour})


async def until_canceled(handle: WorkflowHandle[Any, Any]) -> None:
    """Until the workflow has asked for the end of what is under way."""
    wanted = EventType.EVENT_TYPE_ACTIVITY_TASK_CANCEL_REQUESTED
    async with asyncio.timeout(20):
        while wanted not in [event.event_type async for event in handle.fetch_history_events()]:
            await asyncio.sleep(0.01)
