"""The application of the api in this process, over real projects in a real store and an engine in memory.

Its fixtures are imported by the conftest.py of those that use them.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from api.dependencies import Services, open_services
from api.http.key_check import KeyCheck
from api.http.uploads import Uploads
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.job_definition import JobDefiner
from callboard.schemas.rest.access import Scope
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.job_run import JobRunInput, JobRunType
from callboard.schemas.workflow.run import RunInput
from callboard.security.apikeys import ApiKeys, Caller
from callboard.security.sealed_sinks import delivery_schedule
from callboard.settings import Settings
from callboard.storage.api_keys import StoredKeys
from callboard.storage.ended_sessions import EndedSessions
from callboard.storage.folder import FolderStore
from callboard.temporal.connection_config import find_connection
from tests.support.constants import WORKSPACE
from tests.support.files import write_files
from tests.support.fleet_stage import fleet_state
from tests.support.in_memory_jobs import MemoryJobRuns, MemoryJobs
from tests.support.in_memory_projects import (
    MemoryAlerts,
    MemoryDeploys,
    MemoryFleet,
    MemoryInboxes,
    MemoryProjectChanges,
    MemorySweeps,
)
from tests.support.in_memory_temporal import (
    BEGAN,
    MemoryAuthSessions,
    MemoryBulks,
    MemoryDeliveries,
    MemoryHandoffs,
    MemoryHealth,
    MemoryRunQueries,
    MemoryRuns,
)

KEY = "test-key-number-one-of-two"
OTHER_KEY = "schlüssel-nummer-zwei-von-zwei"
PROJECTS = ("closed", "closed-members", "members", "recorded", "shop")
"""What is deployed for the tests of the api."""
IN_USE: dict[str, Any] = {"busy": {"shop": 2}, "warm": {"shop": 1}}
"""What the only worker says of its Machines."""
SECRET = "the older secret key of the ring"
AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"


@dataclass
class Api:
    """The application, a client with a key, and what is behind."""

    app: FastAPI
    client: httpx.AsyncClient
    services: Services
    """What the handlers are given: among others, what follows."""
    store: FolderStore
    runs: MemoryRuns
    run_queries: MemoryRunQueries
    auth_sessions: MemoryAuthSessions
    handoffs: MemoryHandoffs
    inboxes: MemoryInboxes
    deliveries: MemoryDeliveries
    alerts: MemoryAlerts
    bulks: MemoryBulks
    jobs: MemoryJobs
    job_runs: MemoryJobRuns
    temporal_health: MemoryHealth
    fleet: MemoryFleet
    sweeps: MemorySweeps
    project_changes: MemoryProjectChanges
    deploys: MemoryDeploys
    base: str = f"/api/v1/workspace/{WORKSPACE}/projects/shop/run"

    @classmethod
    async def make(cls, settings: Settings, store: Any, runs: MemoryRuns) -> Api:
        """Make the application over this store, with an engine in memory in place of Temporal; nothing of it runs."""
        opened = await open_services(settings, find_connection(settings))
        schedule = delivery_schedule(settings)
        stored_keys = StoredKeys(store)
        in_memory: dict[str, Any] = {
            "store": store,
            "runs": runs,
            "run_queries": MemoryRunQueries(runs),
            "auth_sessions": MemoryAuthSessions(),
            "handoffs": MemoryHandoffs(runs),
            "inboxes": MemoryInboxes(),
            "deliveries": MemoryDeliveries(),
            "alerts": MemoryAlerts(),
            "bulks": MemoryBulks(),
            "jobs": MemoryJobs(),
            "job_runs": MemoryJobRuns(),
            "temporal_health": MemoryHealth(runs),
            "fleet": MemoryFleet(fleet_state({"worker-1": dict.fromkeys(PROJECTS, 1)}, **{"worker-1": IN_USE})),
            "sweeps": MemorySweeps(),
            "project_changes": MemoryProjectChanges(store),
            "deploys": MemoryDeploys(),
        }
        services = replace(
            opened,
            **in_memory,
            keys=KeyCheck(ApiKeys([key.get_secret_value() for key in settings.api_keys]), stored_keys),
            stored_keys=stored_keys,
            ended_sessions=EndedSessions(store),
            uploads=Uploads(settings, store),
            catalog=Catalog(store, max_age=timedelta()),
            job_definer=JobDefiner(settings.workspace, store, opened.ring, opened.egress, schedule),
        )
        app = create_app(services)
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app), base_url="http://api.test", headers={"x-api-key": KEY}
        )
        return cls(app, client, services, **in_memory)

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[Api]:
        """The application as it runs, until the block ends."""
        async with self.app.router.lifespan_context(self.app), self.client:
            yield self

    @asynccontextmanager
    async def served(self) -> AsyncGenerator[str]:
        """The application on a real port until the block ends; its address."""
        config = uvicorn.Config(self.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False)
        async with QuietServer.running(config) as server:
            yield f"http://127.0.0.1:{server.port}"

    async def start(self, body: Any = None, **headers: str) -> httpx.Response:
        return await self.client.post(
            f"{self.base}/start",
            json={"api": "list", "parameters": {}} if body is None else body,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )

    async def run(self, **fields: Any) -> str:
        answer = await self.start({"api": "list", "parameters": {}, **fields})
        assert answer.status_code == 201, answer.text
        return answer.json()["runId"]

    async def ask(
        self, place: str, project: str = "shop", *, method: str = "GET", status: int = 200, **options: Any
    ) -> Any:
        """Call what is below a project, and return the JSON of the answer, which has this status."""
        url = f"/api/v1/workspace/{WORKSPACE}/projects/{project}/{place}".rstrip("/")
        answer = await self.client.request(method, url, **options)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def raw(self, text: str | bytes) -> httpx.Response:
        return await self.client.post(f"{self.base}/start", content=text)

    async def make_key(
        self, *scopes: str, projects: Iterable[str] | None = None, ends_at: datetime | None = None
    ) -> str:
        """Make a key with these scopes, whoever may do so."""
        seen = None if projects is None else frozenset(projects)
        granted = Caller(id="", name="test", scopes=frozenset(map(Scope, scopes)), projects=seen, ends_at=ends_at)
        return (await self.services.stored_keys.create(granted, granted)).key

    def input_of(self, run_id: str) -> RunInput:
        return self.runs.entries[run_id].input

    def add_auth_session(self, name: str = "anna", project: str = "members", **fields: Any) -> AuthSessionView:
        """Make an AuthSession known: of credentials and READY, except for these fields."""
        known = {"id": name, "type": "CREDENTIALS", "status": "READY", "created_at": BEGAN, "updated_at": BEGAN}
        view = AuthSessionView.model_validate({**known, **fields})
        self.auth_sessions.known[project, name] = view
        return view

    async def create_job(self, job_id: str = "nightly", project: str = "shop", **fields: Any) -> None:
        """Create a Job of one item, except for these fields."""
        item = {"apiName": "list", "parameters": {}}
        body = {"id": job_id, "payload": [item], "configuration": {}, **fields}
        answer = await self.client.post(f"/api/v1/workspace/{WORKSPACE}/projects/{project}/jobs", json=body)
        assert answer.status_code == 201, answer.text

    async def start_bulk(self) -> str:
        """Ask for all that waits to be canceled, and return the id of that request."""
        body = {"filter": {"status": "pending"}}
        return (await self.ask("runs/bulk/cancel", method="POST", status=202, json=body))["id"]

    async def start_job_run(self, job_run_id: str, job_id: str = "nightly", **fields: Any) -> None:
        """Start a JobRun as a schedule does, which has then these fields."""
        job_run = JobRunInput(
            workspace=WORKSPACE,
            project="shop",
            job_id=job_id,
            definition=self.jobs.known["shop", job_id].ref.definition,
            type=JobRunType.SCHEDULED,
        )
        await self.job_runs.start(job_run_id, job_run)
        self.job_runs.change(job_run_id, **fields)

    async def stored(self, *prefixes: str) -> list[str]:
        """List the keys in the artifact store that begin with one of these."""
        return [key for prefix in prefixes async for key in self.store.list(prefix)]


MakeApi = Callable[..., Awaitable[Api]]
"""Makes an application with other settings; the fixture `make_api` says with which arguments."""


def api_settings(**fields: Any) -> Settings:
    return Settings.model_validate(
        {"api_keys": [KEY, OTHER_KEY], "secret_key": [SECRET], "workspace_id": WORKSPACE, **fields}
    )


_DEPLOYED: dict[str, Path] = {}
"""Artifact stores with nothing but one project, by the project's name and settings."""


async def deploy_project(folder: Path, store: FolderStore, **options: Any) -> None:
    """Deploy a project with these settings.

    A deploy starts a process, which takes as long as a hundred requests. So each is done once, and copied from then on.
    """
    known = json.dumps([folder.name, options], sort_keys=True)
    if known not in _DEPLOYED:
        files = {
            "Intuned.json": json.dumps(options),
            "api/list.py": AUTOMATION,
            "api/products/details.py": AUTOMATION,
            "auth-sessions/create.py": "async def create(page, params=None, **_kwargs): ...\n",
            "auth-sessions/check.py": "async def check(page, **_kwargs): return True\n",
        }
        artifacts = folder.with_name(f"artifacts-{len(_DEPLOYED)}")
        await deploy(write_files(folder, files), FolderStore(artifacts))
        _DEPLOYED[known] = artifacts
    await asyncio.to_thread(shutil.copytree, _DEPLOYED[known], store.name, dirs_exist_ok=True)


class QuietServer(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield

    @classmethod
    @asynccontextmanager
    async def running(cls, config: uvicorn.Config) -> AsyncGenerator[QuietServer]:
        """A server that has started; it stops with the block."""
        server = cls(config)
        serving = asyncio.create_task(server.serve())
        async with asyncio.timeout(30):
            while not server.started:
                await asyncio.sleep(0.01)
        try:
            yield server
        finally:
            server.should_exit = True
            await serving

    @property
    def port(self) -> int:
        return self.servers[0].sockets[0].getsockname()[1]


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
async def deployed(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> FolderStore:
    """Projects `shop`, `closed`, `members` (logs in), `closed-members` and `recorded` (people log in).

    API access of the closed ones is off.
    """
    root = tmp_path_factory.mktemp("projects")
    store = FolderStore(artifacts)
    await deploy_project(root / "shop", store)
    await deploy_project(root / "closed", store, apiAccess={"enabled": False})
    await deploy_project(root / "members", store, authSessions={"enabled": True, "type": "API"})
    await deploy_project(root / "recorded", store, authSessions={"enabled": True, "type": "MANUAL"})
    shut = {"apiAccess": {"enabled": False}, "authSessions": {"enabled": True, "type": "API"}}
    await deploy_project(root / "closed-members", store, **shut)
    return store


@pytest.fixture
async def make_api(deployed: FolderStore) -> AsyncGenerator[MakeApi]:
    """Makes an application with other settings; with `runs`, one that shares an engine."""
    async with AsyncExitStack() as running:

        async def make(runs: MemoryRuns | None = None, store: Any = deployed, **fields: Any) -> Api:
            api = await Api.make(api_settings(**fields), store, runs or MemoryRuns())
            return await running.enter_async_context(api.running())

        yield make


@pytest.fixture
def make_project_api(tmp_path: Path, make_api: MakeApi) -> MakeApi:
    """Deploys a project with these settings to a store of its own, and makes an application over it."""

    async def make(settings: Mapping[str, Any], project: str = "shop", **fields: Any) -> Api:
        store = FolderStore(tmp_path / "artifacts")
        await deploy_project(tmp_path / project, store, **settings)
        return await make_api(store=store, **fields)

    return make


@pytest.fixture
async def api(make_api: MakeApi) -> Api:
    return await make_api()
