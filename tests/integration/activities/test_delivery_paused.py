"""Tries of a Delivery that are paused or reset in Temporal, or whose Delivery is gone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest
from temporalio.activity import ActivityCancellationDetails
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from activities import delivery as deliver_module
from activities import heartbeat
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliveryStatus
from tests.support.activity_operations import PendingActivity
from tests.support.control_worker import Delivering
from tests.support.delivery_inputs import delivery, webhook
from tests.support.polling import until
from tests.support.present import present
from tests.support.webhook_receiver import Receiver, Reply, answers, receiver


@asynccontextmanager
async def held(
    deliver: Delivering, name: str, reply: Reply | None = None, *replies: Reply
) -> AsyncGenerator[asyncio.Event]:
    """Hold a try until the event, when its receiver replies."""
    go = asyncio.Event()

    async def replies_when_let(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await go.wait()
        await (reply or answers())(reader, writer)

    async with receiver(replies_when_let, *replies) as inbox:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await inbox.until(1)
        yield go


@pytest.fixture
def sending(client: Client, name: str) -> PendingActivity:
    return PendingActivity(client, names.delivery_workflow_id(name, names.SINK_DELIVERY))


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> list[ActivityCancellationDetails]:
    """What the server answered to heartbeats that were requests of their own. They come quickly."""
    monkeypatch.setattr(heartbeat, "FIRST_HEARTBEAT", 0.0)
    monkeypatch.setattr(heartbeat, "HEARTBEAT_INTERVAL", 0.05)
    told: list[ActivityCancellationDetails] = []
    record = heartbeat.record_heartbeat

    async def listen(*details: object, within: float) -> ActivityCancellationDetails | None:
        answer = await record(*details, within=within)
        told.extend([] if answer is None else [answer])
        return answer

    monkeypatch.setattr(heartbeat, "record_heartbeat", listen)
    return told


Told = list[ActivityCancellationDetails]


@pytest.mark.parametrize("operation", ["paused", "reset"])
async def test_one_that_is_paused_or_reset_comes_to_its_end(
    deliver: Delivering, sending: PendingActivity, told: Told, name: str, operation: str
) -> None:
    async with held(deliver, name) as go:
        await (sending.pause() if operation == "paused" else sending.reset())
        await until(lambda: any(getattr(details, operation) for details in told))
        go.set()
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert [record.status_code for record in await deliver.tries(name, name)] == [200]


async def test_a_try_that_failed_while_paused_is_repeated_after_unpause(
    deliver: Delivering, sending: PendingActivity, told: Told, name: str
) -> None:
    async with held(deliver, name, answers("500 No"), answers()) as go:
        await sending.pause()
        await until(lambda: any(details.paused for details in told))
        go.set()
        await sending.until(PendingActivityState.PENDING_ACTIVITY_STATE_PAUSED)
        assert [record.status_code for record in await deliver.tries(name, name)] == [500]
        await sending.unpause()
        assert (await deliver.ended(name, name)).status is DeliveryStatus.DELIVERED
    assert [record.status_code for record in await deliver.tries(name, name)] == [500, 200]


async def test_one_that_was_paused_still_hears_that_its_delivery_is_gone(
    deliver: Delivering, sending: PendingActivity, told: Told, name: str
) -> None:
    async with held(deliver, name) as go:
        await sending.pause()
        await until(lambda: any(details.paused for details in told))
        await deliver.end(name)
        (record,) = await deliver.until_tried(name, name, 1)
        go.set()
    assert present(record.error).type == "WorkerStopped"


async def test_nothing_is_sent_for_one_that_temporal_has_given_up(
    deliver: Delivering, inbox: Receiver, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[object] = []

    async def gone(*details: object) -> ActivityCancellationDetails:
        asked.append(details)
        return ActivityCancellationDetails(not_found=True)

    monkeypatch.setattr(deliver_module, "record_heartbeat", gone)
    await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
    await until(lambda: len(asked) >= 2)
    await deliver.end(name)
    assert inbox.connections == 0
    assert await deliver.tries(name, name) == []


async def test_it_is_recorded_that_one_began_before_anything_is_sent(
    deliver: Delivering, sending: PendingActivity, name: str
) -> None:
    async with held(deliver, name) as go:
        (began,) = await deliver.client.data_converter.decode((await sending.info()).heartbeat_details.payloads)
        go.set()
        await deliver.ended(name, name)
    (record,) = await deliver.tries(name, name)
    assert began == record.at.isoformat()
