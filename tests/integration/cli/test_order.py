"""Whether Temporal keeps the order of Runs is told by `callboard doctor` and `callboard setup-namespace`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from temporalio.client import Client
from typer.testing import CliRunner

from cli.doctor.findings import Status
from cli.doctor.order import check_order
from cli.main import app
from devstack import ports
from devstack.temporal import DYNAMIC_CONFIG, NAMESPACE, TemporalServer
from projects.deploy import deploy
from projects.skeleton import write_skeleton
from storage.folder import FolderStore
from temporal.pollers import PARTITION_KEYS
from tests.support.temporal_servers import dev_client


@asynccontextmanager
async def partitioned(folder: Path) -> AsyncGenerator[tuple[TemporalServer, Client]]:
    """A server as others run it, with four partitions for each task queue."""
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(folder, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server, await dev_client(server)
    finally:
        await server.stop()


@pytest.fixture
def default_partitions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the number of partitions to Temporal."""
    kept = [line for line in DYNAMIC_CONFIG if not line.startswith(PARTITION_KEYS)]
    assert len(kept) == len(DYNAMIC_CONFIG) - len(PARTITION_KEYS)
    monkeypatch.setattr("devstack.temporal.DYNAMIC_CONFIG", tuple(kept))


async def _deployed(folder: Path, *projects: str) -> FolderStore:
    store = FolderStore(folder / "store")
    for project in projects:
        write_skeleton(folder, project)
        await deploy(folder / project, store)
    return store


@pytest.mark.usefixtures("default_partitions")
async def test_queues_in_several_partitions_are_told_with_what_to_set(tmp_path: Path) -> None:
    async with partitioned(tmp_path / "temporal") as (server, client):
        store = await _deployed(tmp_path, "a", "b", "c", "d")
        found = await check_order(client, store)
        assert found.status is Status.WARNING
        assert found.message.endswith(
            "callboard-project-a (4), callboard-project-b (4), callboard-project-c (4), 1 more."
        )
        assert found.fix is not None
        assert "matching.numTaskqueueReadPartitions and matching.numTaskqueueWritePartitions to 1" in found.fix
        said = await asyncio.to_thread(
            CliRunner().invoke,
            app,
            ["setup-namespace"],
            env={"CALLBOARD_TEMPORAL_ADDRESS": server.address, "CALLBOARD_TEMPORAL_NAMESPACE": NAMESPACE},
        )
        assert said.exit_code == 0, said.output
        assert "divides task queues into 4 partitions" in said.output
        assert "for callboard-project-PROJECT" in said.output


async def test_one_partition_is_well(tmp_path: Path) -> None:
    async with partitioned(tmp_path / "temporal") as (_, client):
        assert (await check_order(client, await _deployed(tmp_path, "a"))).status is Status.OK
        assert (await check_order(client, FolderStore(tmp_path / "empty"))).status is Status.OK
        assert (await check_order(client, None)).status is Status.SKIPPED
