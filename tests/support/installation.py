"""An installation without an api: Temporal, a store, and workers as processes of their own."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.client import Client

from callboard.dev.temporal import TemporalServer
from callboard.machines.keeper_process import processes_of
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunInput
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.temporal.client import connect
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_view import FleetReader
from callboard.temporal.runs import Runs
from tests.support.files import write_files
from tests.support.parts import Parts
from tests.support.polling import until
from tests.support.present import present
from tests.support.temporal_servers import dev_server

GATE = """
import asyncio
from pathlib import Path

async def automation(page, params, **_):
    Path(params["folder"], f"begun-{params['n']}").touch()
    while not Path(params["folder"], "go").exists():
        await asyncio.sleep(0.02)
    return params["n"]
"""
ALIVE = """
import asyncio
import os
from pathlib import Path

async def automation(page, params, **_):
    alive = Path(params["folder"], f"alive-{params['n']}-{os.urandom(4).hex()}")
    while not Path(params["folder"], "go").exists():
        alive.touch()
        await asyncio.sleep(0.05)
    return params["n"]
"""
_ALIVE_WITHIN = 0.3
"""Seconds since its last sign of life in which an Attempt is taken to be executed."""


class Installation(Parts):
    """Temporal, a store, and workers as processes of their own."""

    def __init__(self, folder: Path, temporal: TemporalServer, client: Client) -> None:
        super().__init__(folder, project="shared", CALLBOARD_TEMPORAL_ADDRESS=temporal.address)
        self.temporal = temporal
        self.client = client
        self.runs = Runs(client)
        self.version = ""

    async def publish(self, machines: int, name: str = "shared") -> None:
        """Deploy the project, under this name and with this number of Machines."""
        settings = json.dumps({"projectName": name, "replication": {"maxConcurrentRequests": machines}})
        files = {"Intuned.json": settings, "api/alive.py": ALIVE, "api/gate.py": GATE}
        project = write_files(self.folder / "project", files)
        self.version = (await deploy(project, open_store(str(self.folder / "artifacts")))).version

    async def start(
        self,
        run_id: str,
        n: int,
        *,
        api: str = "gate",
        maximum_attempts: int = 1,
        project: str = "shared",
        queue_timeout: timedelta | None = None,
    ) -> None:
        text = json.dumps({"folder": str(self.folder), "n": n})
        run_input = RunInput(
            workspace="w",
            project=project,
            version=self.version,
            api=api,
            parameters=JsonRef(text=text, size=len(text)),
            maximum_attempts=maximum_attempts,
            request_timeout=timedelta(minutes=5),
            queue_timeout=queue_timeout,
        )
        assert await self.runs.start(run_id, run_input, fingerprint="")

    async def fleet(self) -> dict[str, Any]:
        """What the api answers of the fleet, as soon as it can: Temporal may ask a worker first that has just died."""
        deployed = await Catalog(open_store(str(self.folder / "artifacts"))).sizes()

        async def read() -> dict[str, Any] | None:
            try:
                fleet = await FleetReader(FleetClient(self.client)).read(deployed)
            except Unavailable:
                return None
            return fleet.model_dump(mode="json", by_alias=True)

        return present(await until(read))

    @property
    def executed(self) -> list[str]:
        """The Attempts of API `alive` that are executed now, as their own signs of life tell."""
        now = time.time()
        return [path.name for path in self.folder.glob("alive-*") if now - path.stat().st_mtime < _ALIVE_WITHIN]

    @property
    def begun(self) -> int:
        return len(list(self.folder.glob("begun-*")))


@asynccontextmanager
async def installed(tmp_path: Path) -> AsyncGenerator[Installation]:
    """An installation in this folder, with the project deployed and no worker yet."""
    async with dev_server(tmp_path / "temporal") as temporal:
        client = await connect(Settings(temporal_address=temporal.address), lazy=True)
        made = Installation(tmp_path, temporal, client)
        await made.publish(2)
        yield made
    assert processes_of(tmp_path) == []
