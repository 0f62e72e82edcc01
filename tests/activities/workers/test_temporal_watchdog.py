"""A worker that cannot reach Temporal lets go of its Attempts; with a real server that is stopped by a signal."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from activities.attempts.running_attempts import Cause, RunningAttempts
from activities.workers import temporal_watchdog
from activities.workers.project_worker import HEARTBEAT_THROTTLE
from activities.workers.temporal_watchdog import CHECK_INTERVAL, CHECK_TIMEOUT, INTERRUPT_AFTER
from tests.support.polling import until
from tests.support.temporal_servers import dev_client, dev_server
from workflows.browser_workflow import HEARTBEAT_TIMEOUT


async def forever() -> None:
    await asyncio.Event().wait()


QUICK = {
    "interrupt_after": timedelta(seconds=2),
    "check_interval": timedelta(seconds=0.1),
    "check_timeout": timedelta(seconds=1),
}


async def test_attempts_are_let_go_while_temporal_is_silent_and_only_then(tmp_path: Path) -> None:
    running_attempts = RunningAttempts()
    async with dev_server(tmp_path) as server:
        client = await dev_client(server)
        pid = server.process.pid
        assert pid
        (temporal,) = [
            process
            for process in [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
            if "start-dev" in process.cmdline() and Path(process.exe()).name == "temporal"
        ]
        watching = asyncio.create_task(temporal_watchdog.watch(client, running_attempts, **QUICK))
        try:
            work = asyncio.create_task(forever())
            with running_attempts.register("run-1", 1, work) as running_attempt:
                await asyncio.sleep(0.3)  # it is asked, and answers
                assert running_attempt.cause is None
                os.kill(temporal.pid, signal.SIGSTOP)
                await until(work.done)
                assert running_attempt.cause is Cause.INTERRUPTED
                assert "could not reach Temporal for" in running_attempt.message
            os.kill(temporal.pid, signal.SIGCONT)
            while not await client.service_client.check_health(timeout=timedelta(seconds=5)):
                await asyncio.sleep(0.05)
            await asyncio.sleep(0.3)  # so that the watch has heard it too
            work = asyncio.create_task(forever())
            with running_attempts.register("run-1", 2, work) as running_attempt:
                await asyncio.sleep(0.3)
                assert running_attempt.cause is None
                work.cancel()
            assert not watching.done()
        finally:
            os.kill(temporal.pid, signal.SIGCONT)
            watching.cancel()
            await asyncio.wait({watching})


@pytest.mark.parametrize("answer", [timedelta(), CHECK_TIMEOUT], ids=["refused", "silent"])
def test_attempts_are_let_go_before_temporal_gives_them_to_somebody_else(answer: timedelta) -> None:
    """Temporal falls silent just after an answer, and just before a heartbeat would have got through."""
    teardown = timedelta(seconds=1.5)
    silent = answer
    while silent + CHECK_INTERVAL + CHECK_TIMEOUT <= INTERRUPT_AFTER:
        silent += CHECK_INTERVAL + answer
    assert HEARTBEAT_THROTTLE + silent + teardown < HEARTBEAT_TIMEOUT


def test_a_temporal_that_is_away_for_twenty_seconds_costs_no_attempt() -> None:
    silent = timedelta(seconds=20) + CHECK_INTERVAL  # it had last been asked just before
    assert silent + CHECK_INTERVAL + CHECK_TIMEOUT <= INTERRUPT_AFTER
