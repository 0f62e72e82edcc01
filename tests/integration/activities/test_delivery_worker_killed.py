"""A worker that is killed as it delivers: what it sent comes once more, with the same id, and that is written down."""

from __future__ import annotations

import asyncio
import itertools
from asyncio.subprocess import Process
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from standardwebhooks.webhooks import Webhook
from temporalio.client import Client

from callboard.schemas.workflow.delivery import DeliveryStatus
from tests.support.control_worker import SECRET, Delivering
from tests.support.delivery_inputs import KEY, delivery, webhook
from tests.support.faulty_store import FaultyStore
from tests.support.processes import CALLBOARD, running, surroundings
from tests.support.webhook_receiver import answers, receiver

Start = Callable[[], Awaitable[Process]]


@pytest.fixture
async def start(client: Client, tmp_path: Path) -> AsyncGenerator[Start]:
    """Starts a worker that sequences and delivers, as a process of its own."""
    settings = surroundings(
        CALLBOARD_ROLE="control",
        CALLBOARD_DATA_DIR=str(tmp_path),
        CALLBOARD_TEMPORAL_ADDRESS=client.service_client.config.target_host,
        CALLBOARD_SECRET_KEY=KEY,
        CALLBOARD_WEBHOOK_SECRETS=SECRET,
        CALLBOARD_EGRESS_ALLOW="127.0.0.0/8",
    )
    async with AsyncExitStack() as started:
        numbers = itertools.count()

        async def start() -> Process:
            log = tmp_path / f"worker-{next(numbers)}.log"
            return await started.enter_async_context(running(CALLBOARD, "worker", log=log, env=settings))

        yield start


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
        await deliver.ended(name, name)
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
