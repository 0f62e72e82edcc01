"""An activity hears in time that no heartbeat of it is recorded; with real servers that refuse, or are stopped."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from temporalio import activity
from temporalio.client import Client, HeartbeatAsyncActivityInput, Interceptor, OutboundInterceptor
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from activities import heartbeat
from activities.attempts.running_attempts import Cause
from activities.heartbeat import HEARTBEAT_INTERVAL, RETRY_INTERVAL, SILENCE_LIMIT, heartbeats
from tests.support.attempt_worker import attempt_input, running_attempt
from tests.support.polling import until
from tests.support.processes import command_line, program
from tests.support.temporal_servers import dev_client, dev_server
from workflows.browser_workflow import HEARTBEAT_TIMEOUT

_TEARDOWN = timedelta(seconds=1.5)


class Heartbeats(Interceptor):
    """Counts the heartbeats of a client, and refuses them while it is told to."""

    def __init__(self) -> None:
        self.refuse = False
        self.refused = 0
        self.recorded = 0

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:
        return _Outbound(next, self)


class _Outbound(OutboundInterceptor):
    def __init__(self, next: OutboundInterceptor, heartbeats: Heartbeats) -> None:
        super().__init__(next)
        self._heartbeats = heartbeats

    async def heartbeat_async_activity(self, input: HeartbeatAsyncActivityInput) -> None:
        if self._heartbeats.refuse:
            self._heartbeats.refused += 1
            raise RPCError("no heartbeats today", RPCStatusCode.PERMISSION_DENIED, b"")
        await super().heartbeat_async_activity(input)
        self._heartbeats.recorded += 1


def counted(client: Client, heartbeats: Heartbeats) -> Client:
    return Client(
        client.service_client,
        namespace=client.namespace,
        data_converter=client.data_converter,
        interceptors=[heartbeats],
    )


class Silence:
    """An activity that lasts until it is let go, and what it was told meanwhile."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.began = asyncio.Event()
        self.go = asyncio.Event()

    @activity.defn(name="lasting")
    async def lasting(self) -> None:
        async with heartbeats(on_silence=self.told.append):
            self.began.set()
            await self.go.wait()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "FIRST_HEARTBEAT": 0.0,
        "HEARTBEAT_INTERVAL": 0.1,
        "RETRY_INTERVAL": 0.1,
        "SILENCE_LIMIT": 2.0,
    }.items():
        monkeypatch.setattr(heartbeat, name, value)


@asynccontextmanager
async def executing(client: Client, name: str) -> AsyncGenerator[Silence]:
    """The activity, executed on a worker of this client. It has no workflow: Temporal's standalone activities."""
    silence = Silence()
    async with Worker(client, task_queue=name, activities=[silence.lasting]):
        handle = await client.start_activity(
            "lasting",
            id=name,
            task_queue=name,
            start_to_close_timeout=timedelta(minutes=1),
            heartbeat_timeout=timedelta(seconds=30),
        )
        await silence.began.wait()
        try:
            yield silence
        finally:
            silence.go.set()
            await handle.result()


async def test_it_is_told_while_its_heartbeats_are_refused_and_only_then(client: Client, name: str) -> None:
    beats = Heartbeats()
    async with executing(counted(client, beats), name) as silence:
        beats.refuse = True
        await until(lambda: beats.refused >= 3)
        assert silence.told == []  # not sooner than it must be
        await until(lambda: silence.told)
        assert silence.told[0] == "no heartbeats today"
        beats.refuse = False
        count, recorded = len(silence.told), beats.recorded
        await until(lambda: beats.recorded >= recorded + 3)
        assert len(silence.told) == count


async def test_it_is_told_while_temporal_is_silent(tmp_path: Path, name: str) -> None:
    beats = Heartbeats()
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        pid = server.process.pid
        assert pid
        (temporal,) = [
            process
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            if "start-dev" in command_line(process) and program(process) == "temporal"
        ]
        async with executing(counted(client, beats), name) as silence:
            await until(lambda: beats.recorded >= 3)
            assert silence.told == []
            os.kill(temporal.pid, signal.SIGSTOP)
            try:
                await until(lambda: silence.told)
            finally:
                os.kill(temporal.pid, signal.SIGCONT)


async def test_an_attempt_that_is_told_is_interrupted_with_the_reason() -> None:
    attempt = running_attempt(attempt_input("run"), asyncio.Event().wait())
    attempt.on_silence("no heartbeats today")
    await asyncio.wait({attempt.task})
    assert attempt.task.cancelled()
    assert attempt.cause is Cause.INTERRUPTED
    assert attempt.message.endswith("for 26 seconds: no heartbeats today")


def test_an_attempt_ends_before_temporal_gives_it_to_somebody_else() -> None:
    assert timedelta(seconds=SILENCE_LIMIT) + 2 * _TEARDOWN < HEARTBEAT_TIMEOUT


def test_a_temporal_that_is_away_for_fifteen_seconds_costs_no_attempt() -> None:
    """Its last heartbeat was recorded just before the next would have been due."""
    assert HEARTBEAT_INTERVAL + 15 < SILENCE_LIMIT
    assert RETRY_INTERVAL <= SILENCE_LIMIT - HEARTBEAT_INTERVAL - 15
