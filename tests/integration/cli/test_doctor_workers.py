"""`callboard doctor` says whether workers poll the task queues."""

from __future__ import annotations

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from callboard.cli.doctor.findings import Status
from callboard.cli.doctor.live import check_live_view
from callboard.cli.doctor.temporal import check_workers
from callboard.dev.temporal import TemporalServer
from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import DialInput, DialOutcome
from callboard.settings import Settings
from callboard.temporal.fleet_worker import fleet_worker
from callboard.temporal.pollers import list_pollers
from tests.support.polling import until
from tests.support.temporal_servers import set_up_namespace
from workflows.live import DialLiveWorkflow
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


async def test_whether_browser_workers_reach_the_api_is_told_with_the_address(server: TemporalServer) -> None:
    _, client = await set_up_namespace(server, "watched")
    settings = Settings(live_address="http://api:8400")
    outcomes = [
        DialOutcome(is_connected=True),
        DialOutcome(
            is_connected=False, problem="The worker one cannot reach http://api:8400. Set CALLBOARD_LIVE_ADDRESS."
        ),
    ]
    dials = list[DialInput]()

    @activity.defn(name=names.CONNECT_LIVE)
    async def connect_live(input: DialInput) -> DialOutcome:
        dials.append(input)
        return outcomes.pop(0)

    async with (
        Worker(client, task_queue=names.CALLBOARD_QUEUE, workflows=[DialLiveWorkflow], identity="one"),
        fleet_worker(client, "one"),
    ):
        await until(lambda: _has_fleet(client), every=0.05)
        assert (await check_live_view(client, settings)).status is Status.WARNING
        async with Worker(client, task_queue=names.worker_queue("one"), activities=[connect_live], identity="one"):
            found = await until(
                lambda: check_live_view(client, settings),
                true=lambda each: each.status is not Status.WARNING,
                every=0.05,
            )
            assert found.message == "1 browser worker(s) reach the api at http://api:8400"
            assert [(dial.address, dial.run_id) for dial in dials] == [("http://api:8400", None)]
            found = await check_live_view(client, settings)
    assert (found.status, found.message) == (Status.FAILED, "The worker one cannot reach http://api:8400.")
    assert found.fix == "Set CALLBOARD_LIVE_ADDRESS."


async def _has_fleet(client: Client) -> set[str]:
    return await list_pollers(client, names.FLEET_QUEUE)
