"""An installation without an api: Temporal, a store, and workers as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path

import psutil
from temporalio.client import Client

from devstack import ports
from devstack.temporal import TemporalServer
from machines.scratch_cleanup import processes_of
from projects.deploy import deploy
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunInput
from settings import Settings
from storage.factory import open_store
from temporal.client import connect
from temporal.health import TemporalHealth
from temporal.runs import Runs
from tests.support.polling import until

CALLBOARD = Path(sys.executable).with_name("callboard")
SETTINGS = '{"projectName": "shared", "replication": {"maxConcurrentRequests": 2}}'
GATE = """
import asyncio
from pathlib import Path

async def automation(page, params, **_):
    Path(params["folder"], f"begun-{params['n']}").touch()
    while not Path(params["folder"], "go").exists():
        await asyncio.sleep(0.02)
    return params["n"]
"""


class Installation:
    """Temporal, a store, and workers as processes of their own."""

    def __init__(self, folder: Path, temporal: TemporalServer, client: Client) -> None:
        self.folder = folder
        self.temporal = temporal
        self.client = client
        self.runs = Runs(client)
        self.health = TemporalHealth(client)
        self.version = ""
        self._environment = os.environ | {
            "CALLBOARD_TEMPORAL_ADDRESS": temporal.address,
            "CALLBOARD_ARTIFACTS": str(folder / "artifacts"),
            "CALLBOARD_SHARED_FOLDERS": str(folder),
        }

    async def worker(self, resources: AsyncExitStack, name: str, *options: str, **environment: str) -> psutil.Process:
        log = self.folder / f"{name}.log"
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                *(CALLBOARD, "worker", f"--data={self.folder / name}", *options),
                env=self._environment | environment,
                stdout=out,
                stderr=out,
            )

        async def stop() -> None:
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 60) == 0, log.read_text()

        resources.push_async_callback(stop)
        await until(lambda: "is ready" in log.read_text())
        return psutil.Process(process.pid)

    async def start(self, run_id: str, n: int) -> None:
        text = json.dumps({"folder": str(self.folder), "n": n})
        run_input = RunInput(
            workspace="w",
            project="shared",
            version=self.version,
            api="gate",
            parameters=JsonRef(text=text, size=len(text)),
            maximum_attempts=1,
            request_timeout=timedelta(seconds=60),
        )
        assert await self.runs.start(run_id, run_input, fingerprint="")

    @property
    def begun(self) -> int:
        return len(list(self.folder.glob("begun-*")))


@asynccontextmanager
async def installed(tmp_path: Path) -> AsyncGenerator[Installation]:
    """An installation in this folder, with the project deployed and no worker yet."""
    free = ports.choose_ports({"--port": 0, "--ui-port": 0})
    (tmp_path / "temporal").mkdir()
    temporal = TemporalServer(tmp_path / "temporal", port=free["--port"], ui_port=free["--ui-port"], report=print)
    project = tmp_path / "project"
    (project / "api").mkdir(parents=True)
    (project / "Intuned.json").write_text(SETTINGS)
    (project / "api" / "gate.py").write_text(GATE)
    await temporal.start()
    try:
        client = await connect(Settings(temporal_address=temporal.address), lazy=True)
        made = Installation(tmp_path, temporal, client)
        made.version = (await deploy(project, open_store(str(tmp_path / "artifacts")))).version
        yield made
    finally:
        await temporal.stop()
    assert processes_of(tmp_path) == []
