"""`callboard doctor` says whether workers poll the task queues."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.worker import Worker

from callboard.cli.doctor.findings import Status
from callboard.cli.doctor.temporal import check_workers
from callboard.dev.temporal import TemporalServer
from callboard.schemas.workflow import names
from callboard.temporal.fleet_worker import fleet_worker
from tests.support.polling import until
from tests.support.temporal_servers import set_up_namespace
from workflows.sweep import SweepWorkflow


async def test_nobody_serves_anything(server: TemporalServer) -> None:
    _, client = await set_up_namespace(server, "nobody")
    found = await check_workers(client)
    assert found.status is Status.FAILED
    assert found.message == (
        "No worker polls the task queue callboard-runs, so no Run starts; no worker polls the task queue callboard, so"
        " no AuthSession or Job goes on; no worker polls the task queue callboard-deliveries, so no result is"
        " delivered; no worker polls the task queue callboard-fleet, so no worker gets Machines."
    )


async def test_a_worker_is_seen_on_its_queues(server: TemporalServer) -> None:
    _, client = await set_up_namespace(server, "somebody")
    async with (
        Worker(client, task_queue=names.RUNS_QUEUE, workflows=[SweepWorkflow], identity="one"),
        Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=[SweepWorkflow], identity="one"),
        Worker(client, task_queue=names.DELIVERIES_QUEUE, workflows=[SweepWorkflow], identity="one"),
        fleet_worker(client, "one"),
    ):
        await until(lambda: _is_well(client), every=0.05)  # they have asked for the first time
        found = await check_workers(client)
    assert (
        found.message
        == "1 worker on the task queues callboard-runs, callboard, callboard-deliveries and callboard-fleet"
    )


async def _is_well(client: Client) -> bool:
    return (await check_workers(client)).status is Status.OK
