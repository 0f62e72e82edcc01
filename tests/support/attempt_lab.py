"""A project `lab` that is served with one real Machine on a real Temporal, and Runs of it."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from temporalio.client import Client

from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunOutcome
from tests.support.attempt_worker import AttemptWorker, deploy_project, open_bench
from tests.support.polling import until
from tests.support.run_stage import Stage, staged_worker

PROJECT = "lab"
WORKER = "bench"


@dataclass
class Served:
    """A bench whose project `lab` is deployed and served with one Machine."""

    bench: AttemptWorker
    version: str


@asynccontextmanager
async def serve_lab(folder: Path, client: Client) -> AsyncGenerator[Served]:
    """The project's activities, registered as production registers them."""
    async with open_bench(folder, client, WORKER) as bench:
        version = await deploy_project(bench.store, folder / "project", PROJECT)
        await bench.pools.resize(PROJECT, 1)
        activities = [bench.attempt.attempt, bench.attempt.check, bench.attempt.create]
        async with staged_worker(client, names.project_queue(PROJECT), activities, max_concurrent_activities=1):
            yield Served(bench, version)


@dataclass
class AttemptLab:
    """One Run of the project."""

    bench: AttemptWorker
    version: str
    stage: Stage
    folder: Path

    async def run(self, api: str, parameters: Any = None, **fields: Any) -> RunOutcome:
        await self.start(api, parameters, **fields)
        return await self.stage.ended()

    async def start(self, api: str, parameters: Any = None, **fields: Any) -> None:
        if not isinstance(parameters, JsonRef):
            text = json.dumps(parameters or {})
            parameters = JsonRef(text=text, size=len(text))
        fields = {"maximum_attempts": 1, **fields}
        await self.stage.start(version=self.version, api=api, parameters=parameters, **fields)

    async def hold(self, **fields: Any) -> None:
        """Start a Run that lasts until `go`; returns when its user code is at work."""
        await self.start("held", {"began": str(self.folder / "began"), "go": str(self.folder / "go")}, **fields)
        await until((self.folder / "began").exists)

    def go(self) -> None:
        (self.folder / "go").touch()

    async def record(self) -> Any:
        return await self.bench.record(self.stage.project, self.stage.run_id)

    async def until_recorded(self, status: AttemptStatus) -> None:
        await until(self.record, true=lambda record: record is not None and record.status is status)

    @property
    def started(self) -> int:
        """How often user code was called, if it counts that."""
        return len((self.folder / "count").read_text())

    def left(self) -> list[str]:
        """The files that the Run left in the store."""
        root = self.bench.folder / "artifacts" / "runs" / self.stage.project / self.stage.run_id
        return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


@asynccontextmanager
async def open_lab(served: Served, client: Client, name: str, folder: Path) -> AsyncGenerator[AttemptLab]:
    """One Run of the project, not started yet; nothing of it may be left at the end of the block."""
    async with Stage(client, name) as stage:
        stage.project, stage.worker = PROJECT, WORKER
        stage.on_lost = served.bench.artifacts.record_interrupted
        await stage.serve_runs()
        served.bench.store.tries.clear()
        served.bench.store.refuse = lambda _key: False
        yield AttemptLab(served.bench, served.version, stage, folder)
    assert list(served.bench.running_attempts) == []
    assert served.bench.notes() == []
