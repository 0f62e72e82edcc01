"""`callboard doctor` says whether workers serve all projects, and whether limits leave room for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.worker import Worker

from cli.doctor.findings import Finding, Status
from cli.doctor.fleet import check_fleet, check_workers
from cli.doctor.target import Installation
from devstack.temporal import TemporalServer
from projects.deploy import deploy
from projects.skeleton import write_skeleton
from schemas.errors import Unavailable
from schemas.workflow import names
from schemas.workflow.fleet import FleetState, ProjectSize, RenewRequest, list_id
from settings import Settings
from storage.folder import FolderStore
from temporal.fleet import FleetClient, fleet_worker
from tests.support.fleet_stage import fleet_state
from tests.support.polling import until
from tests.support.temporal_servers import set_up_namespace
from workflows.sweep import SweepWorkflow


async def check_projects(client: Client, store: FolderStore) -> Finding:
    return (await check_fleet(client, store, Installation(Settings(), dev=False)))[0]


async def test_nobody_serves_anything(server: TemporalServer, tmp_path: Path) -> None:
    _, client = await set_up_namespace(server, "nobody")
    store = FolderStore(tmp_path / "store")
    found = await check_workers(client)
    assert found.status is Status.FAILED
    assert found.message == (
        "No worker polls the task queue callboard-runs, so no Run starts; no worker polls the task queue callboard, so"
        " no AuthSession or Job goes on; no worker polls the task queue callboard-deliveries, so no result is"
        " delivered; no worker polls the task queue callboard-fleet, so no worker gets Machines."
    )
    assert (await check_projects(client, store)).message == "No project is deployed."
    write_skeleton(tmp_path, "shop")
    await deploy(tmp_path / "shop", store)
    waiting = await check_projects(client, store)
    assert waiting.status is Status.FAILED
    assert waiting.message == "No worker serves shop: their Runs wait."


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


async def test_who_holds_the_machines_is_told_by_the_fleet(server: TemporalServer, tmp_path: Path) -> None:
    _, client = await set_up_namespace(server, "fleet")
    store = FolderStore(tmp_path / "store")
    write_skeleton(tmp_path, "shop")
    manifest = await deploy(tmp_path / "shop", store)
    shop = ProjectSize(machines=manifest.settings.machines, deployed_at=datetime.now(UTC))

    async def renew(number: int, shop: ProjectSize) -> None:
        served = {"shop": shop}
        await FleetClient(client).renew(
            RenewRequest(
                worker="a", number=number, capacity=4, serves=list_id(served), changes=dict(served), held={}, used={}
            )
        )

    async with fleet_worker(client, "one"):
        await renew(1, shop)
        found = await check_projects(client, store)
        assert (found.status, found.message) == (Status.OK, "1 project is deployed, with 1 Machine")
        (tmp_path / "shop" / "Intuned.jsonc").write_text(
            '{"projectName": "shop", "replication": {"maxConcurrentRequests": 9}}'
        )
        await deploy(tmp_path / "shop", store)
        await renew(2, shop.model_copy(update={"machines": 9, "deployed_at": datetime.now(UTC)}))
        found = await check_projects(client, store)
        assert found.status is Status.WARNING
        assert found.message == "Machines are missing: shop (5 of 9: its workers have no room for more)."
    await client.get_workflow_handle(names.FLEET_ID).terminate()


async def store_with(folder: Path, **machines: int) -> FolderStore:
    """A store with projects that have so many Machines."""
    store = FolderStore(folder / "store")
    for project, count in machines.items():
        write_skeleton(folder, project)
        (folder / project / "Intuned.jsonc").write_text(
            json.dumps({"projectName": project, "replication": {"maxConcurrentRequests": count}})
        )
        await deploy(folder / project, store)
    return store


def with_state(monkeypatch: pytest.MonkeyPatch, state: FleetState) -> None:
    """Have the workflow `Fleet` know this."""

    async def read(_fleet: FleetClient) -> FleetState:
        return state

    monkeypatch.setattr(FleetClient, "read_state", read)


@pytest.mark.parametrize(
    ("here", "dev", "workers", "status", "said"),
    [
        (None, False, {"a": None}, Status.OK, "There is none (CALLBOARD_MAX_MACHINES); all projects together have 5"),
        (5, False, {"a": 5}, Status.OK, "All projects together may have 5 Machines, and have 5"),
        (4, False, {"a": 4}, Status.WARNING, "All projects together ask for 5 Machines, and may have 4"),
        (9, False, {"a": 9, "b": 7, "c": None}, Status.WARNING, "is 9 here, and otherwise on the workers b, c."),
        (9, False, {"a": 9, "b": 7}, Status.WARNING, "the smallest number that one of them has, which is 7."),
        (None, True, {"a": 4}, Status.WARNING, "may have 4 (CALLBOARD_MAX_MACHINES)"),
    ],
)
async def test_what_is_not_within_the_limit_of_all_projects_is_told(
    server: TemporalServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    here: int | None,
    dev: bool,
    workers: dict[str, int | None],
    status: Status,
    said: str,
) -> None:
    _, client = await set_up_namespace(server, "limit")
    store = await store_with(tmp_path, shop=3, mail=2)
    limits = {worker: {"max_machines": limit} for worker, limit in workers.items()}
    with_state(monkeypatch, fleet_state({worker: {} for worker in workers}, {}, **limits))
    place = Installation(Settings(max_machines=here), dev=dev)
    _, found = await check_fleet(client, store, place)
    assert found.status is status
    assert said in found.message
    assert (found.fix is not None) is (status is Status.WARNING)


async def test_that_no_worker_answers_is_told(
    server: TemporalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, client = await set_up_namespace(server, "silent")
    store = FolderStore(tmp_path / "store")
    write_skeleton(tmp_path, "shop")
    await deploy(tmp_path / "shop", store)

    async def unanswered(_fleet: FleetClient) -> FleetState:
        raise Unavailable("No worker has said who holds which Machines.")

    monkeypatch.setattr(FleetClient, "read_state", unanswered)
    found = await check_projects(client, store)
    assert (found.status, found.message) == (Status.FAILED, "No worker has said who holds which Machines.")
    assert (found.fix or "").startswith("Start `callboard worker`")
