"""A Temporal worker that does not stop is left behind in bounded time, and the process ends all the same."""

from __future__ import annotations

import asyncio
import logging
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from callboard.temporal.worker_shutdown import running_worker
from tests.support.polling import until
from tests.support.processes import running, surroundings

SOON = timedelta(seconds=0.2)
PATIENCE = 60.0


@workflow.defn(name="Endless", sandboxed=False)
class Endless:
    """Waits for an activity that does not end."""

    @workflow.run
    async def run(self) -> None:
        await workflow.execute_activity("endless", start_to_close_timeout=timedelta(minutes=1))


async def test_a_worker_that_stops_is_waited_for(client: Client, name: str, caplog: pytest.LogCaptureFixture) -> None:
    worker = Worker(client, task_queue=name, workflows=[Endless])
    async with running_worker(worker):
        pass
    assert worker.is_shutdown
    assert "left behind" not in caplog.text


async def test_a_worker_that_does_not_stop_is_left_behind_and_the_log_says_so(
    client: Client, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    began, go = asyncio.Event(), asyncio.Event()

    @activity.defn(name="endless")
    async def endless() -> None:
        began.set()
        while not go.is_set():
            try:
                await go.wait()
            except asyncio.CancelledError:
                continue

    worker = Worker(client, task_queue=name, workflows=[Endless], activities=[endless])
    async with running_worker(worker, margin=SOON):
        handle = await client.start_workflow(Endless.run, id=name, task_queue=name)
        await began.wait()
    (said,) = [record for record in caplog.records if record.name == "callboard.temporal.worker_shutdown"]
    assert said.levelno == logging.ERROR
    assert name in said.getMessage()
    assert not worker.is_shutdown
    await handle.terminate()
    go.set()
    await asyncio.wait_for(worker.shutdown(), PATIENCE)


async def test_what_fails_a_worker_for_good_is_raised(client: Client, name: str) -> None:
    nowhere = Client(client.service_client, namespace="nowhere")
    worker = Worker(nowhere, task_queue=name, workflows=[Endless])
    with pytest.raises(RuntimeError, match="nowhere"):
        async with asyncio.timeout(PATIENCE), running_worker(worker):
            await asyncio.Event().wait()


STUCK = """
import asyncio
import runpy
from datetime import timedelta
from functools import partial
from temporalio.worker import Worker
from callboard.temporal import worker_shutdown

async def stubborn():
    while True:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass

async def never(self, *_exception):
    stuck.append(asyncio.create_task(stubborn()))
    await asyncio.Event().wait()

stuck = []
Worker.__aexit__ = never
worker_shutdown.running_worker = partial(worker_shutdown.running_worker, margin=timedelta(seconds=0.1))
runpy.run_module("worker", run_name="__main__")
"""


async def test_a_worker_process_whose_workers_do_not_stop_ends(client: Client, tmp_path: Path) -> None:
    """To close its event loop would wait for their tasks without end."""
    settings = surroundings(
        CALLBOARD_ROLE="control",
        CALLBOARD_DATA_DIR=str(tmp_path),
        CALLBOARD_TEMPORAL_ADDRESS=client.service_client.config.target_host,
    )
    log = tmp_path / "log"
    async with running(sys.executable, "-c", STUCK, log=log, ends={0}, env=settings) as process:
        await until(lambda: process.returncode is not None or "is ready" in log.read_text())
    output = log.read_text()
    assert output.count("It is left behind") == 4, "those of Runs, of Jobs, of Deliveries and of the fleet"
