"""Whether the Temporal workers of a process still poll: seen here, and by Temporal."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, cast

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from devstack import ports
from settings import Settings
from temporal import poll_watch
from temporal.client import connect
from temporal.poll_watch import PollWatch, unwatched
from temporal.running_activities import RunningActivities
from tests.chaos.lines import Line
from tests.support.polling import until

IDENTITY = "watched"
NO_TIME = timedelta()
PATIENCE = 60.0


@workflow.defn(name="Nothing", sandboxed=False)
class Nothing:
    @workflow.run
    async def run(self) -> None:
        """Nothing is to be done."""


@activity.defn
async def nothing() -> None:
    """Nothing is to be done."""


def worker_of(client: Client, queue: str) -> Worker:
    return Worker(client, task_queue=queue, workflows=[Nothing], activities=[nothing], identity=IDENTITY)


@dataclass
class HungWorker:
    """A worker that is taken to run and does not poll, which no real one can be made to do."""

    task_queue: str
    has_workflows: bool = True
    is_shutdown: bool = False

    @classmethod
    def of(cls, queue: str, *, has_workflows: bool = True) -> Worker:
        return cast("Worker", cls(queue, has_workflows))

    def config(self) -> dict[str, Any]:
        return {"workflows": [Nothing] if self.has_workflows else [], "activities": [nothing]}


@asynccontextmanager
async def following(watch: PollWatch, patch: pytest.MonkeyPatch) -> AsyncGenerator[Callable[[], Awaitable[None]]]:
    """Ask Temporal without a pause; what is given waits for two more rounds."""
    patch.setattr(poll_watch, "_ROUND_INTERVAL", NO_TIME)
    patch.setattr(poll_watch, "_REQUEST_INTERVAL", timedelta(seconds=0.01))
    stepped = asyncio.Event()
    task = asyncio.create_task(watch.follow(stepped.set))

    async def rounds() -> None:
        for _ in range(8):  # there are two requests and a pause in a round
            stepped.clear()
            async with asyncio.timeout(PATIENCE):
                await stepped.wait()

    try:
        yield rounds
    finally:
        task.cancel()
        await asyncio.wait({task})


async def until_there_is_a_problem(watch: PollWatch) -> str:
    await until(watch.problem, PATIENCE)
    return watch.problem() or ""


async def test_one_that_has_ended_is_seen_at_once(client: Client, name: str) -> None:
    watch = PollWatch(client, IDENTITY)
    worker = worker_of(client, name)
    with watch.watching(worker):
        async with worker:
            assert watch.problem() is None
        assert watch.problem() == f"The Temporal worker of task queue {name} has ended."
    assert watch.problem() is None


async def test_one_that_drains_may_end(client: Client, name: str) -> None:
    watch = PollWatch(client, IDENTITY)
    worker = worker_of(client, name)
    with watch.watching(worker, may_pause=lambda: True):
        async with worker:
            pass
        assert watch.problem() is None


async def test_one_that_does_not_poll_any_more_is_seen_by_temporal(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = PollWatch(client, IDENTITY, quiet_after=timedelta(seconds=0.5))
    with watch.watching(HungWorker.of(name)):  # another worker polls for it at first
        async with following(watch, monkeypatch) as rounds:
            async with worker_of(client, name):
                await rounds()
                assert watch._watched[0].polls, "Temporal has seen polls"
            problem = await until_there_is_a_problem(watch)
            assert problem.startswith(f"The Temporal worker of task queue {name} has not polled for ")
            async with worker_of(client, name):
                await until(lambda: watch.problem() is None, PATIENCE)


async def test_without_a_poll_ever_seen_nothing_is_judged(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = PollWatch(client, IDENTITY, quiet_after=NO_TIME)
    with watch.watching(HungWorker.of(name)):
        async with following(watch, monkeypatch) as rounds:
            await rounds()
            assert watch.problem() is None


async def test_one_whose_slots_are_taken_need_not_poll(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch = PollWatch(client, IDENTITY, quiet_after=NO_TIME)
    is_full = False
    with watch.watching(HungWorker.of(name, has_workflows=False), may_pause=lambda: is_full):
        async with following(watch, monkeypatch) as rounds:
            async with worker_of(client, name):
                await rounds()
            is_full = True
            await rounds()
            assert watch.problem() is None


async def test_while_temporal_is_away_nobody_is_to_blame(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = client.service_client.config.target_host
    free = ports.choose_ports({"--port": 0})["--port"]
    async with Line.to(int(server.rpartition(":")[2]), free) as line:
        settings = Settings(temporal_address=f"127.0.0.1:{free}", temporal_namespace=client.namespace)
        watch = PollWatch(await connect(settings, retry_timeout=timedelta(seconds=1)), IDENTITY, quiet_after=NO_TIME)
        with watch.watching(HungWorker.of(name)):
            async with following(watch, monkeypatch) as rounds:
                async with worker_of(client, name):
                    await rounds()
                await until_there_is_a_problem(watch)
                line.cut("refused")
                await until(lambda: watch.problem() is None, PATIENCE)
                await rounds()
                assert watch.problem() is None
                line.mend()
                await until_there_is_a_problem(watch)


def test_whoever_does_not_watch_expects_nothing() -> None:
    with unwatched(HungWorker.of("any")):
        pass


async def test_a_queue_of_several_partitions_is_not_judged(
    client: Client, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Temporal tells of the polls of the first partition only."""

    async def several(_client: Client, _task_queue: str) -> int:
        return 4

    monkeypatch.setattr(poll_watch, "count_partitions", several)
    watch = PollWatch(client, IDENTITY, quiet_after=NO_TIME)
    with watch.watching(HungWorker.of(name)):
        async with following(watch, monkeypatch) as rounds:
            async with worker_of(client, name):
                await rounds()
            await rounds()
            await rounds()
            assert watch.problem() is None


async def test_activities_whose_slots_are_all_taken_are_counted(client: Client, name: str) -> None:
    asked: list[Callable[[], bool]] = []

    def watch(worker: Worker, *, may_pause: Callable[[], bool] = lambda: False) -> AbstractContextManager[None]:
        asked.append(may_pause)
        return nullcontext()

    began, go = asyncio.Event(), asyncio.Event()

    @activity.defn(name="waits")
    async def waits() -> None:
        began.set()
        await go.wait()

    running = RunningActivities(1)
    worker = Worker(client, task_queue=name, activities=[waits], interceptors=[running], max_concurrent_activities=1)
    with running.watched_by(watch)(worker):
        async with worker:
            (may_pause,) = asked
            assert not may_pause()
            handle = await client.start_activity(
                waits, id=name, task_queue=name, start_to_close_timeout=timedelta(minutes=1)
            )
            async with asyncio.timeout(PATIENCE):
                await began.wait()
                assert may_pause()
                go.set()
                await handle.result()
            assert not may_pause()
