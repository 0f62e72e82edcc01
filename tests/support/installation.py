"""An installation without an api: Temporal, a store, and workers as processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

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


class Installation:
    """Temporal, a store, and workers as processes of their own."""

    def __init__(self, folder: Path, temporal: TemporalServer, client: Client) -> None:
        self.folder = folder
        self.temporal = temporal
        self.client = client
        self.runs = Runs(client)
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
            if process.returncode == -signal.SIGKILL:
                return
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 60) == 0, log.read_text()

        resources.push_async_callback(stop)
        await until(lambda: "is ready" in log.read_text())
        return psutil.Process(process.pid)

    async def deploy(self, machines: int, name: str = "shared") -> None:
        """Deploy the project, under this name and with this number of Machines."""
        project = self.folder / "project"
        settings = {"projectName": name, "replication": {"maxConcurrentRequests": machines}}
        (project / "Intuned.json").write_text(json.dumps(settings))
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

    async def command(self, *arguments: str) -> str:
        """What the `callboard` command prints."""
        process = await asyncio.create_subprocess_exec(
            CALLBOARD, *arguments, env=self._environment, stdout=asyncio.subprocess.PIPE
        )
        printed, _ = await process.communicate()
        assert process.returncode == 0
        return printed.decode()

    async def fleet(self) -> dict[str, Any]:
        """What `callboard fleet --json` prints."""
        return json.loads(await self.command("fleet", "--json"))

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
    free = ports.choose_ports({"--port": 0, "--ui-port": 0})
    (tmp_path / "temporal").mkdir()
    temporal = TemporalServer(tmp_path / "temporal", port=free["--port"], ui_port=free["--ui-port"], report=print)
    project = tmp_path / "project"
    (project / "api").mkdir(parents=True)
    (project / "Intuned.json").write_text(SETTINGS)
    (project / "api" / "alive.py").write_text(ALIVE)
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
