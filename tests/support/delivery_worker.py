"""A worker's delivering side in this process: real Runs with scripted Attempts, real Deliveries, a store, a way out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.common import Priority
from temporalio.worker import Worker

from activities.deliveries.delivery_sender import DeliverySender
from activities.delivery import DeliveryActivities
from callboard.dev.data_folder import new_webhook_secret
from callboard.schemas.workflow import names
from callboard.schemas.workflow.delivery import DeliverInput, DeliveryStatus, TryRecord
from callboard.schemas.workflow.sink import DeliverySchedule
from callboard.security.egress import EgressPolicy
from callboard.security.pinned_transport import PinnedTransport
from callboard.security.signing import WebhookSigner
from callboard.storage import object_keys
from callboard.temporal.deliveries import Deliveries, DeliveryState
from callboard.temporal.worker_shutdown import running_worker
from tests.support.constants import LOOPBACK
from tests.support.delivery_inputs import QUICK, RING, sealed
from tests.support.faulty_store import FaultyStore
from tests.support.polling import until
from tests.support.run_stage import IDENTITY, WORKSPACE, Stage, completed, ends
from workflows.deliver import DeliverWorkflow, SinkTestWorkflow

SECRET = new_webhook_secret()
DEADLINE = 60.0
GRACE = timedelta(seconds=1)


@dataclass
class Delivering:
    """What delivers, and how it is looked at."""

    client: Client
    store: FaultyStore

    async def start(self, input: DeliverInput) -> None:
        """A Delivery without a Run behind it: what it sends must be in the store already."""
        await self.store.put(object_keys.delivery_body(input.project, input.run_id, input.delivery_id), b'{"n":1}')
        await self.client.start_workflow(
            DeliverWorkflow.run,
            input,
            id=names.delivery_workflow_id(input.run_id, input.delivery_id),
            task_queue=names.DELIVERIES_QUEUE,
            priority=Priority(fairness_key=input.sink.fairness_key),
            memo={
                names.MEMO_WORKSPACE: input.workspace,
                names.MEMO_PROJECT: input.project,
                names.MEMO_SINK: input.sink.masked(),
            },
        )

    async def state(self, project: str, run_id: str) -> DeliveryState:
        (state,) = await Deliveries(self.client).list_for_run(WORKSPACE, project, run_id)
        return state

    async def ended(self, project: str, run_id: str) -> DeliveryState:
        return await until(
            lambda: self.state(project, run_id), true=lambda state: state.status is not DeliveryStatus.PENDING
        )

    async def tries(self, project: str, run_id: str) -> list[TryRecord]:
        """Their records, in order."""
        prefix = object_keys.delivery_tries(project, run_id, names.SINK_DELIVERY)
        found = [await self.store.get(key) async for key in self.store.list(prefix)]
        return [TryRecord.model_validate_json(record) for record in found if record is not None]

    async def until_tried(self, project: str, run_id: str, count: int) -> list[TryRecord]:
        return await until(lambda: self.tries(project, run_id), true=lambda records: len(records) >= count)

    async def end(self, run_id: str) -> None:
        """Leave nothing that is tried for another day."""
        await self._handle(run_id).terminate()

    def _handle(self, run_id: str) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(names.delivery_workflow_id(run_id, names.SINK_DELIVERY))


@asynccontextmanager
async def delivering(
    client: Client,
    folder: Path,
    *,
    egress: EgressPolicy | None = None,
    secrets: tuple[str, ...] = (SECRET,),
    places: int = 500,
    public_url: str | None = None,
) -> AsyncGenerator[Delivering]:
    store = FaultyStore(folder / "artifacts")
    async with PinnedTransport(egress or EgressPolicy(LOOPBACK)) as transport:
        delivery_sender = DeliverySender(
            store=store, transport=transport, keyring=RING, signer=WebhookSigner(secrets), user_agent="callboard/test"
        )
        activities = DeliveryActivities(
            client=client,
            store=store,
            delivery_sender=delivery_sender,
            places=places,
            public_url=public_url,
            keyring=RING,
        )
        worker = Worker(
            client,
            task_queue=names.DELIVERIES_QUEUE,
            workflows=[DeliverWorkflow, SinkTestWorkflow],
            activities=[
                activities.prepare_delivery,
                activities.send_delivery,
                activities.send_test,
            ],
            identity=IDENTITY,
            max_concurrent_activities=places,
            max_heartbeat_throttle_interval=timedelta(milliseconds=50),
            graceful_shutdown_timeout=GRACE,
        )
        async with running_worker(worker):
            yield Delivering(client, store)


async def run_to_end(
    stage: Stage, sink: dict[str, Any], *parts: Any, schedule: DeliverySchedule = QUICK, **fields: Any
) -> None:
    """A Run with this sink, to its end."""
    await stage.serve(*(parts or (ends(completed('{"n":1}')),)))
    await stage.start(sink=sealed(sink, stage.project, stage.run_id, schedule), **fields)
    stage.outcome = await stage.ended()
