"""An installation on this host: Temporal, a store in a folder, an api, and workers as processes of their own."""

from __future__ import annotations

import base64
import json
import secrets
import tempfile
import time
from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
from pydantic import SecretStr
from temporalio.client import Client

from callboard.dev import ports
from callboard.dev.environment import build_environment
from callboard.dev.temporal import TemporalServer
from callboard.projects.deploy import deploy
from callboard.schemas.workflow.fleet import FleetState
from callboard.settings import Settings
from callboard.storage.factory import open_store
from callboard.temporal.client import connect
from callboard.temporal.fleet import FleetClient
from tests.bench.concurrency import for_each
from tests.bench.fleet.temporal_metrics import TemporalMetrics
from tests.bench.output import console
from tests.bench.servers import api_of, process, temporal_tuned
from tests.support.polling import until

_KEY = "key-of-the-bench-of-fleets"
_DEPLOYS_AT_ONCE = 8
QUICK = {"api/work.py": "async def automation(page, params=None, **_kwargs):\n    return 1\n"}
"""The files of a project whose API `work` returns at once."""


wait_until = partial(until, within=300, every=0.1)
"""Waits for what is slow to come, and looks so rarely that it costs the measurement little."""


class Installation:
    """A running installation. Workers are added to it, and projects deployed, as a measurement needs them."""

    def __init__(
        self, folder: Path, settings: Settings, temporal: TemporalServer, client: Client, metrics: TemporalMetrics
    ) -> None:
        self.folder = folder
        self.settings = settings
        self.temporal = temporal
        self.client = client
        self.metrics = metrics
        self.http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{settings.port}/api/v1/workspace/{settings.workspace}/projects",
            headers={"x-api-key": _KEY},
            timeout=120,
            trust_env=False,
            limits=httpx.Limits(max_connections=None),
        )
        self._fleet = FleetClient(client)

    @classmethod
    @asynccontextmanager
    async def up(cls, *dynamic_config: str) -> AsyncGenerator[Installation]:
        """Run Temporal with this configuration, and an api, whose sinks may be on this host, until the block ends."""
        with tempfile.TemporaryDirectory(prefix="callboard-fleet-") as name:
            folder = Path(name)
            async with temporal_tuned(folder, *dynamic_config) as temporal:
                settings = Settings(
                    data_dir=folder / "api",
                    artifacts=str(folder / "artifacts"),
                    temporal_address=temporal.address,
                    port=ports.choose_ports({"port": 0})["port"],
                    api_keys=[SecretStr(_KEY)],
                    secret_key=[SecretStr(secrets.token_urlsafe(32))],
                    webhook_secrets=[SecretStr(f"whsec_{base64.b64encode(secrets.token_bytes(32)).decode()}")],
                    egress_allow=["127.0.0.1"],
                )
                metrics = await TemporalMetrics.of(int(temporal.address.rpartition(":")[2]))
                installation = cls(folder, settings, temporal, await connect(settings), metrics)
                async with api_of(settings, folder / "logs" / "api.log"), installation.http:
                    yield installation

    @asynccontextmanager
    async def workers(self, count: int, **settings: Any) -> AsyncGenerator[list[psutil.Process]]:
        """Run workers with these settings, from when all of them are ready until the block ends."""
        async with AsyncExitStack() as resources:
            # They are stopped at the same time, as each of them may have to wait for its Attempts.
            started: list[psutil.Process] = []
            for number in range(count):
                name = f"worker-{settings.get('role', 'all')}-{number}"
                its = self.settings.model_copy(update={"data_dir": self.folder / name, **settings})
                log = self.folder / "logs" / f"{name}.log"
                worker = await resources.enter_async_context(
                    process("-m", "worker", environment=build_environment(its), log=log)
                )
                started.append(psutil.Process(worker.pid))
                await wait_until(lambda log=log: "is ready" in log.read_text())
            yield started
            for worker in started:
                worker.terminate()

    async def deploy(self, project: str, files: Mapping[str, str], *, machines: int = 1, **settings: Any) -> None:
        """Deploy a project with these files, by the product's own function."""
        folder = self.folder / "projects" / project
        its = {"projectName": project, "apiAccess": {"enabled": True}, **settings}
        its["replication"] = {"maxConcurrentRequests": machines}
        for name, text in {**files, "Intuned.json": json.dumps(its)}.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        await deploy(folder, open_store(self.settings.artifact_location))

    async def deploy_idle(self, count: int) -> None:
        """Deploy this many projects, of which no Run is ever started, with one Machine each."""
        await for_each(range(count), lambda number: self.deploy(f"idle-{number}", QUICK), at_once=_DEPLOYS_AT_ONCE)

    async def start(self, project: str, **body: Any) -> str:
        """Start a Run of the API `work`, and return its id."""
        answer = await self.http.post(
            f"/{project}/run/start", json={"api": "work", "parameters": {}, "saveTrace": False, **body}
        )
        answer.raise_for_status()
        return answer.json()["runId"]

    async def result(self, project: str, run_id: str) -> dict[str, Any]:
        """Wait for the end of a Run."""
        while True:
            answer = (await self.http.get(f"/{project}/run/{run_id}/result", params={"wait": 60})).json()
            if answer["status"] not in ("pending", "started"):
                return answer

    async def timed(self, project: str, **body: Any) -> float:
        """Execute one Run, and return the seconds from the request to start it until its result."""
        began = time.perf_counter()
        result = await self.result(project, await self.start(project, **body))
        took = time.perf_counter() - began
        if result["status"] != "completed":
            raise RuntimeError(f"a Run of the bench did not complete: {result}")
        return took

    async def fleet(self) -> FleetState:
        """Return who holds which Machines."""
        return await self._fleet.read_state()

    async def until_held(self, projects: int) -> None:
        """Wait until workers have the Machines of this many projects, and nothing moves between them any more."""

        async def is_settled() -> bool:
            members = (await self.fleet()).members.values()
            held = {project for member in members for project in member.shares}
            return len(held) == projects and all(member.shares == member.plan for member in members)

        await wait_until(is_settled)


def progress(text: str) -> None:
    """Tell whoever waits for the tables how far a measurement is."""
    console.print(text, style="dim")
