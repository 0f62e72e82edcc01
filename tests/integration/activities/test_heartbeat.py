"""Heartbeats: none in the first second, of no activity; and the same ones for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode
from temporalio.testing import ActivityEnvironment

from activities import delivery as deliver_module
from activities import heartbeat
from activities.artifacts import ArtifactActivities
from activities.deliveries.delivery_sender import SendResult
from activities.delivery import DeliveryActivities
from activities.heartbeat import forward_cancellation, heartbeats
from callboard.schemas.workflow.delivery import SendInput, TryRecord
from callboard.schemas.workflow.sweep import SweepPart
from callboard.settings import Settings
from tests.support.delivery_inputs import delivery, webhook
from tests.support.faulty_store import FaultyStore
from tests.support.polling import until


class Beats:
    """An environment for activities, and the heartbeats that it saw."""

    def __init__(self) -> None:
        self.environment = ActivityEnvironment()
        self.seen: list[tuple[Any, ...]] = []
        self.environment.on_heartbeat = lambda *details: self.seen.append(details)


@pytest.fixture
def beats() -> Beats:
    return Beats()


class _SlowSender:
    """A try that lasts until it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.began = asyncio.Event()

    async def send_stored(self, _delivery: object, _body_key: str, at: datetime) -> SendResult:
        self.began.set()
        await self.go.wait()
        return SendResult(TryRecord(at=at, status_code=200))


async def _recorded(*_details: object) -> None:
    """Stand in for a heartbeat by request: there is no server behind an ActivityEnvironment."""


async def _beats_of(
    activity: Callable[..., Coroutine[Any, Any, Any]], input: object, began: asyncio.Event, beats: Beats
) -> asyncio.Task[Any]:
    async def run() -> Any:
        return await beats.environment.run(activity, input)

    running = asyncio.create_task(run())
    await began.wait()
    for _ in range(20):  # whatever it does at once, it has done
        await asyncio.sleep(0)
    assert beats.seen == []
    return running


async def test_the_first_one_comes_no_sooner_than_after_a_second() -> None:
    """Sooner, the worker can hang as it stops: see `FIRST_HEARTBEAT`."""
    assert heartbeat.FIRST_HEARTBEAT >= 1.0


async def test_a_try_of_a_delivery_and_a_sweep_send_none_at_once(
    beats: Beats, client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = FaultyStore(tmp_path)
    delivery_sender = _SlowSender()
    monkeypatch.setattr(deliver_module, "record_heartbeat", _recorded)
    activities = DeliveryActivities(client=client, store=store, delivery_sender=delivery_sender, places=1)  # pyright: ignore[reportArgumentType]
    input = SendInput(delivery=delivery(webhook("http://shop.test/"), run_id="run", project="shop"), body_key="body")
    sending = await _beats_of(activities.send_delivery, input, delivery_sender.began, beats)
    delivery_sender.go.set()
    await sending

    began, go = asyncio.Event(), asyncio.Event()
    listing = store.entries

    async def entries(*arguments: Any, **options: Any) -> Any:
        began.set()
        await go.wait()
        async for entry in listing(*arguments, **options):
            yield entry

    monkeypatch.setattr(store, "entries", entries)
    part = SweepPart(before=datetime.now(UTC))
    activities = ArtifactActivities.of(Settings(), client, store)
    sweeping = await _beats_of(activities.sweep_artifacts, part, began, beats)
    go.set()
    await sweeping
    assert beats.seen == []


async def test_they_carry_the_newest_details(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.0)
    progress: list[int] = []

    async def works() -> None:
        async with heartbeats(details=lambda: [len(progress)]):
            for number in range(5):
                progress.append(number)
                await until(lambda: beats.seen[-1:] == [(len(progress),)])

    await beats.environment.run(works)
    assert beats.seen[-1] == (5,)


async def test_with_an_interval_of_their_own_each_is_a_request(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: list[None] = []

    async def record(*_details: object, within: float) -> None:
        recorded.append(None)

    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "record_heartbeat", record)

    async def works() -> None:
        async with heartbeats(interval=0.0):
            await until(lambda: len(recorded) >= 3)

    await beats.environment.run(works)
    assert len(beats.seen) >= len(recorded), "the SDK counts them, too"


async def test_refused_heartbeats_after_many_recorded_ones_are_no_silence_yet(
    beats: Beats, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("FIRST_HEARTBEAT", "HEARTBEAT_INTERVAL", "RETRY_INTERVAL"):
        monkeypatch.setattr(heartbeat, name, 0.0)
    monkeypatch.setattr(heartbeat, "SILENCE_LIMIT", 1.0)
    loop, told, refused = asyncio.get_running_loop(), list[str](), list[None]()
    began = loop.time()

    async def record(*_details: object, within: float) -> None:
        if loop.time() > began + 1.5 and len(refused) < 3:
            refused.append(None)
            raise RPCError("no heartbeats today", RPCStatusCode.PERMISSION_DENIED, b"")

    async def lasts() -> None:
        async with heartbeats(on_silence=told.append):
            await until(lambda: len(refused) == 3)

    monkeypatch.setattr(heartbeat, "record_heartbeat", record)
    await beats.environment.run(lasts)
    assert told == []


async def test_none_comes_after_the_end(beats: Beats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.0)

    async def lasts() -> None:
        async with heartbeats():
            await until(lambda: len(beats.seen) > 3)

    await beats.environment.run(lasts)
    count = len(beats.seen)
    for _ in range(20):
        await asyncio.sleep(0)
    assert len(beats.seen) == count
    assert [task for task in asyncio.all_tasks() if task.get_name() == "heartbeats"] == []


async def test_work_ends_despite_a_cancellation_and_its_details_are_passed_on(beats: Beats) -> None:
    told: list[ActivityCancellationDetails | None] = []
    began, go = asyncio.Event(), asyncio.Event()

    async def work() -> str:
        began.set()
        await go.wait()
        return "done"

    async def forwards() -> str:
        return await forward_cancellation(work(), told.append)

    async def run() -> str:
        return await beats.environment.run(forwards)

    running = asyncio.create_task(run())
    await began.wait()
    beats.environment.cancel(ActivityCancellationDetails(paused=True))
    await until(lambda: told)
    go.set()
    assert await running == "done"
    assert told == [ActivityCancellationDetails(paused=True)]
