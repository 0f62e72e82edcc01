"""A worker that is killed as it delivers: what it sent comes once more, with the same id, and that is written down."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client

from schemas.workflow.delivery import DeliveryStatus
from tests.support.attempt_worker import FaultyStore
from tests.support.delivery_inputs import KEY, delivery, webhook
from tests.support.delivery_worker import SECRET, Delivering
from tests.support.repository import REPOSITORY
from tests.support.webhook_receiver import answers, receiver

Start = Callable[[], Awaitable[asyncio.subprocess.Process]]


@pytest.fixture
async def start(client: Client, tmp_path: Path) -> AsyncGenerator[Start]:
    """Starts a worker that sequences and delivers, as a process of its own."""
    started: list[asyncio.subprocess.Process] = []
    plain = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
    settings = {
        "CALLBOARD_ROLE": "control",
        "CALLBOARD_DATA_DIR": str(tmp_path),
        "CALLBOARD_TEMPORAL_ADDRESS": client.service_client.config.target_host,
        "CALLBOARD_SECRET_KEY": KEY,
        "CALLBOARD_WEBHOOK_SECRETS": SECRET,
        "CALLBOARD_EGRESS_ALLOW": "127.0.0.0/8",
    }

    async def start() -> asyncio.subprocess.Process:
        with (tmp_path / f"worker-{len(started)}.log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "worker"), cwd=REPOSITORY, env=plain | settings, stdout=log, stderr=log
            )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def test_a_worker_killed_while_sending_repeats_the_delivery_with_its_id(
    client: Client, name: str, tmp_path: Path, start: Start
) -> None:
    deliver = Delivering(client, FaultyStore(tmp_path / "artifacts"))
    worker = await start()

    async def kills_and_answers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        worker.kill()
        await worker.wait()
        await answers()(reader, writer)

    async with receiver(kills_and_answers, answers()) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await inbox.until(1)
        await start()
        async with asyncio.timeout(90):
            while (await deliver.state(name, name)).status is DeliveryStatus.PENDING:
                await asyncio.sleep(0.2)
        first, second = inbox.received
    assert (await deliver.state(name, name)).status is DeliveryStatus.DELIVERED
    assert (first.body, first.headers["webhook-id"]) == (second.body, second.headers["webhook-id"])
    assert Webhook(SECRET).verify(second.body, second.headers) == {"n": 1}
    lost, delivered = await deliver.tries(name, name)
    assert lost.error is not None
    assert lost.error.type == "WorkerLost"
    assert (lost.status_code, lost.latency) == (None, None)
    assert lost.at.timestamp() <= first.at + 1
    assert delivered.status_code == 200


async def test_a_worker_that_is_told_to_stop_lets_go_of_a_try_and_writes_it_down(
    client: Client, name: str, tmp_path: Path, start: Start
) -> None:
    deliver = Delivering(client, FaultyStore(tmp_path / "artifacts"))
    worker = await start()

    async def never(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await reader.read()

    async with receiver(never, answers()) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await inbox.until(1)
        worker.terminate()
        assert await asyncio.wait_for(worker.wait(), 60) == 0
        await start()
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    stopped, delivered = await deliver.tries(name, name)
    assert stopped.error is not None
    assert stopped.error.type == "WorkerStopped"
    assert delivered.status_code == 200
