"""A receiver that never answers delays Deliveries to no other one."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

from temporalio.api.enums.v1 import EventType
from temporalio.client import Client

from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliveryStatus
from tests.support.control_worker import delivering
from tests.support.delivery_inputs import QUICK, delivery, webhook
from tests.support.polling import until
from tests.support.webhook_receiver import hangs, receiver

PLACES = 8
DEAD = 40
"""Deliveries to the receiver that never answers: many more than there are places."""


async def test_a_receiver_that_never_answers_delays_no_other_one(client: Client, tmp_path: Path, name: str) -> None:
    slow = QUICK.model_copy(update={"timeout": timedelta(minutes=5)})
    run_ids = [f"{name}-{number}" for number in range(DEAD)]
    async with receiver(hangs) as dead, receiver() as inbox, delivering(client, tmp_path, places=PLACES) as deliver:
        sink = webhook(dead.url)
        await asyncio.gather(
            *(deliver.start(delivery(sink, run_id=run_id, project=name, schedule=slow)) for run_id in run_ids)
        )
        await until(lambda: dead.connections == PLACES // 2)
        for number in range(3):
            other = f"{name}-other-{number}"
            await deliver.start(delivery(webhook(inbox.url), run_id=other, project=name))
            assert (await deliver.ended(name, other)).status is DeliveryStatus.DELIVERED
        assert dead.connections == PLACES // 2
        assert [await deliver.tries(name, run_id) for run_id in run_ids] == [[]] * DEAD, "a try that waits is none"
        await asyncio.gather(*(deliver.end(run_id) for run_id in run_ids))


async def test_activities_of_a_delivery_have_the_receiver_as_their_fairness_key(
    client: Client, tmp_path: Path, name: str
) -> None:
    async with receiver() as inbox, delivering(client, tmp_path) as deliver:
        await deliver.start(delivery(webhook(inbox.url), run_id=name, project=name))
        await deliver.ended(name, name)
    handle = client.get_workflow_handle(names.delivery_workflow_id(name, names.SINK_DELIVERY))
    keys = [
        event.activity_task_scheduled_event_attributes.priority.fairness_key
        async for event in handle.fetch_history_events()
        if event.event_type == EventType.EVENT_TYPE_ACTIVITY_TASK_SCHEDULED
    ]
    assert keys == [f"127.0.0.1:{inbox.port}"] * 2
