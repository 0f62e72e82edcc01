"""What a worker of the role `browser` has, in this process: activity `attempt`, real Machines, a store that fails.

A lab is such a worker that serves a project on a real Temporal server, and Runs of it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

from pydantic import SecretStr
from temporalio import activity
from temporalio.client import Client
from temporalio.testing import ActivityEnvironment

from activities.artifacts import ArtifactActivities
from activities.attempt_activities import AttemptActivities
from activities.attempts.running_attempts import RunningAttempt, RunningAttempts
from activities.workers.worker_dir import WorkerDir
from callboard.machines.attempt_spec import AttemptReport, AttemptSpec, MachineStart, Version
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.keeper_process import processes_of
from callboard.machines.machine_attempt import MachineAttempt
from callboard.machines.machine_start import LaunchOptions
from callboard.machines.pool import MachinePools
from callboard.machines.runner import process_tree
from callboard.machines.slot import RecycleLimits
from callboard.machines.trace_redactor import TraceRedactor
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.versions import VersionFolders
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptRecord, AttemptStatus
from callboard.schemas.workflow.base import JsonRef
from callboard.schemas.workflow.run import RunOutcome
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.delivery_inputs import json_text
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.machines import KEEPER, USER, find_process
from tests.support.package_box import package_box
from tests.support.polling import until
from tests.support.present import present
from tests.support.run_stage import RunStage
from tests.support.stage import staged_worker

SECRET = "the secret key of this bench"
PROJECT = "lab"
"""The project that `serve_lab` serves."""
WORKER = "bench"
PATIENCE = 60.0
AT = datetime(2026, 1, 2, tzinfo=UTC)
"""When scripted Machines begin their Attempts."""

ECHO = """
async def automation(page, params=None, **_kwargs):
    return params
"""
COUNTED = """
from pathlib import Path

async def automation(page, params, **_kwargs):
    with Path(params["count"]).open("a") as count:
        count.write("x")
    return "x" * params.get("size", 1)
"""
HELD = """
import asyncio
from pathlib import Path

async def automation(page, params, **_kwargs):
    Path(params["began"]).touch()
    while not Path(params["go"]).exists():
        await asyncio.sleep(0.02)
    return "went"
"""
FAIL = """
async def automation(page, params=None, **_kwargs):
    raise ValueError("the price is missing")
"""
ASKS = r"""
import asyncio
from datetime import datetime
from callboard_runtime import HandoffDeclined, HandoffTimeout, HandoffUnavailable, request_input

async def automation(page, params=None, **_kwargs):
    params = params or {}
    await page.set_content("<input id=code>")
    if "leaves" in params:
        leaves = asyncio.create_task(request_input("The code", timeout=params["leaves"]))
        await page.wait_for_timeout(1500)
        return "left"
    if "others" in params:
        others = await asyncio.gather(request_input("The code"), request_input("Another"), return_exceptions=True)
        return [str(other) for other in others if isinstance(other, HandoffUnavailable)]
    since = datetime.fromisoformat(params["since"]) if "since" in params else None
    codes = {"code_to": params.get("codeTo"), "pattern": params.get("pattern"), "since": since}
    asking = request_input("The code", secret=True, timeout=params.get("timeout", "5m"), **codes)
    try:
        code = await asyncio.wait_for(asking, params.get("patience"))
    except (HandoffDeclined, HandoffTimeout, HandoffUnavailable) as error:
        return [type(error).__name__, str(error)]
    except TimeoutError:
        await asyncio.sleep(1)
        return "gave up"
    await page.fill("#code", code)
    print("typed", code)
    if params.get("fail"):
        raise ValueError(f"it was {code}")
    return {"code": code, "length": len(code)}
"""
APIS = {"echo": ECHO, "counted": COUNTED, "held": HELD, "fail": FAIL, "asks": ASKS}


def attempt_input(run_id: str, number: int = 1, **fields: Any) -> AttemptInput:
    attempt = AttemptInput(
        workspace="w",
        run_id=run_id,
        number=number,
        project="shop",
        version="1",
        api="list",
        parameters=JsonRef(text="{}", size=2),
        request_timeout=timedelta(minutes=1),
    )
    return attempt.model_copy(update=fields)


def running_attempt(
    input: AttemptInput, work: Coroutine[Any, Any, Any], info: activity.Info | None = None
) -> RunningAttempt:
    """An Attempt that does this work on its worker, and has neither a log nor a folder."""
    nothing = cast("Any", None)
    its = info or ActivityEnvironment.default_info()
    attempt = RunningAttempt(input, its, worker="worker-1", log=nothing, folder=nothing)
    attempt.begin(work)
    return attempt


class ScriptedPool:
    """Machines that begin at once, and report what they are told to; a cancel stops them."""

    def __init__(self) -> None:
        self.executed: list[tuple[Version, MachineAttempt]] = []
        self.report: dict[str, Any] = {"result": "true"}
        self.line = ""
        """Of the log."""
        self.ready = asyncio.Event()
        """That its Machine is started."""
        self.ready.set()
        self.go_on = asyncio.Event()
        self.go_on.set()

    @property
    def specs(self) -> list[AttemptSpec]:
        return [attempt.spec for _, attempt in self.executed]

    def __getitem__(self, _project: str) -> ScriptedPool:
        return self

    async def run_attempt(self, version: Version, attempt: MachineAttempt) -> AttemptReport:
        self.executed.append((version, attempt))
        attempt.note_room()
        await self.ready.wait()
        attempt.begin(MachineStart("scripted-1-1", "156", datetime.now(UTC), "/scratch/project"), cast("Any", None))
        if self.line:
            present(attempt.log).write_line(self.line)
        await self.go_on.wait()
        status = AttemptStatus.FAILED if "error" in self.report else AttemptStatus.COMPLETED
        return AttemptReport(status=status, machine="scripted-1-1", **self.report)


async def deploy_project(store: FolderStore, folder: Path, name: str, machines: int = 1) -> str:
    """Deploy a project with these APIs; its version."""
    files = {
        "Intuned.jsonc": f'{{"projectName": "{name}", "replication": {{"maxConcurrentRequests": {machines}}}}}',
        **{f"api/{api}.py": code for api, code in APIS.items()},
    }
    return (await deploy(write_files(folder, files), store)).version


@dataclass
class AttemptWorker:
    """What a worker has."""

    store: FaultyStore
    catalog: Catalog
    running_attempts: RunningAttempts
    pools: MachinePools
    worker_dir: WorkerDir
    attempt: AttemptActivities
    artifacts: ArtifactActivities
    keyring: KeyRing
    folder: Path

    async def record(self, project: str, run_id: str, number: int = 1) -> AttemptRecord | None:
        body = await FolderStore.get(self.store, object_keys.attempt(project, run_id, number, "attempt.json"))
        return None if body is None else AttemptRecord.model_validate_json(body)

    def user_process(self) -> int:
        """The process of user code of the one Machine that there is."""
        its = processes_of(self.worker_dir.scratch)
        return find_process(
            next(pid for pid in its if KEEPER.encode() in process_tree.read(f"/proc/{pid}/cmdline")), USER
        )

    def notes(self) -> list[Path]:
        return list(self.worker_dir.scratch.parent.glob("attempts/*.json"))


@asynccontextmanager
async def open_bench(folder: Path, client: Client, worker: str, pools: Any = None) -> AsyncGenerator[AttemptWorker]:
    """A bench below `folder`. With `pools`, these instead of real ones."""
    store = FaultyStore(folder / "artifacts")
    worker_dir = WorkerDir(folder / "workers" / worker)
    browser = await asyncio.to_thread(find_browser, None)
    launch = LaunchOptions(worker_dir.scratch, browser, tuple(browser_args()), shared=(folder.parent,))
    machines = MachinePools(launch, RecycleLimits(idle=timedelta(minutes=2), attempts=200, age=timedelta(hours=1)))
    running_attempts = RunningAttempts()
    redactor = TraceRedactor()
    catalog = Catalog(store, max_age=timedelta())
    settings = Settings(secret_key=[SecretStr(SECRET)])
    keyring = KeyRing.of(settings)
    attempt = AttemptActivities.of(
        settings,
        client,
        store,
        catalog,
        worker=worker,
        worker_dir=worker_dir,
        versions=VersionFolders(store, folder / "versions"),
        environments=Environments(folder / "environments", package_box()),
        pools=pools or machines,
        redactor=redactor,
        running_attempts=running_attempts,
    )
    artifacts = ArtifactActivities.of(settings, client, store)
    try:
        yield AttemptWorker(store, catalog, running_attempts, machines, worker_dir, attempt, artifacts, keyring, folder)
    finally:
        await machines.close()
        await redactor.close()
        left = processes_of(worker_dir.scratch), list(worker_dir.scratch.iterdir())
        worker_dir.close()
    assert left == ([], [])


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
    stage: RunStage
    folder: Path

    async def run(self, api: str, parameters: Any = None, **fields: Any) -> RunOutcome:
        await self.start(api, parameters, **fields)
        return await self.stage.ended()

    async def start(self, api: str, parameters: Any = None, **fields: Any) -> None:
        if not isinstance(parameters, JsonRef):
            parameters = json_text(parameters or {})
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
async def open_attempt_lab(served: Served, client: Client, name: str, folder: Path) -> AsyncGenerator[AttemptLab]:
    """One Run of the project, not started yet; nothing of it may be left at the end of the block."""
    async with RunStage(client, name) as stage:
        stage.project, stage.worker = PROJECT, WORKER
        stage.on_lost = served.bench.artifacts.record_interrupted
        await stage.serve_runs()
        served.bench.store.tries.clear()
        served.bench.store.refuse = lambda _key: False
        yield AttemptLab(served.bench, served.version, stage, folder)
    assert list(served.bench.running_attempts) == []
    assert served.bench.notes() == []
