"""The application in this process, over real projects in a real store and an engine that keeps Runs in memory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from devstack import ports
from devstack.temporal import TemporalServer
from projects.deploy import deploy
from schemas.workflow.run import RunInput
from settings import Settings
from storage.folder import FolderStore
from tests.support.in_memory_temporal import (
    WORKSPACE,
    MemoryAuthSessions,
    MemoryDeliveries,
    MemoryRecords,
    MemoryRuns,
)

KEY = "test-key-number-one-of-two"
OTHER_KEY = "schlüssel-nummer-zwei-von-zwei"
SECRET = "the older secret key of the ring"
AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"


@dataclass
class Api:
    """The application, a client with a key, and what is behind."""

    app: FastAPI
    client: httpx.AsyncClient
    runs: MemoryRuns
    records: MemoryRecords
    auth_sessions: MemoryAuthSessions
    deliveries: MemoryDeliveries
    store: FolderStore
    base: str = f"/api/v1/workspace/{WORKSPACE}/projects/shop/run"

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

    async def raw(self, text: str | bytes) -> httpx.Response:
        return await self.client.post(f"{self.base}/start", content=text)

    def order(self, run_id: str) -> RunInput:
        return self.runs.entries[run_id].order


def settings(**fields: Any) -> Settings:
    return Settings.model_validate(
        {"api_keys": [KEY, OTHER_KEY], "secret_key": [SECRET], "workspace_id": WORKSPACE, **fields}
    )


async def deploy_project(folder: Path, store: FolderStore, **options: Any) -> None:
    files = {
        "Intuned.json": json.dumps(options),
        "api/list.py": AUTOMATION,
        "api/products/details.py": AUTOMATION,
        "auth-sessions/create.py": "async def create(page, params=None, **_kwargs): ...\n",
        "auth-sessions/check.py": "async def check(page, **_kwargs): return True\n",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text)
    await deploy(folder, store)


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
async def make_api(deployed: FolderStore) -> AsyncGenerator[Any]:
    """Makes an application with other settings; with `runs`, one that shares an engine."""
    opened: list[Any] = []

    async def make(runs: MemoryRuns | None = None, store: Any = None, **fields: Any) -> Api:
        engine, auth_sessions = runs or MemoryRuns(), MemoryAuthSessions()
        records, deliveries = MemoryRecords(engine), MemoryDeliveries()
        app = create_app(
            settings(**fields),
            runs=engine,
            records=records,
            auth_sessions=auth_sessions,
            deliveries=deliveries,
            store=store or deployed,
        )
        lifespan = app.router.lifespan_context(app)
        await lifespan.__aenter__()
        transport = httpx.ASGITransport(app)
        client = httpx.AsyncClient(transport=transport, base_url="http://api.test", headers={"x-api-key": KEY})
        opened.append((client, lifespan))
        return Api(app, client, engine, records, auth_sessions, deliveries, store or deployed)

    yield make
    for client, lifespan in opened:
        await client.aclose()
        await lifespan.__aexit__(None, None, None)


@pytest.fixture
async def api(make_api: Any) -> Api:
    return await make_api()


class QuietServer(uvicorn.Server):
    """Leaves the signals to pytest."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


@pytest.fixture
async def served(api: Api) -> AsyncGenerator[str]:
    """The application on a real port; its address. What `api` starts is seen there."""
    config = uvicorn.Config(api.app, host="127.0.0.1", port=0, lifespan="off", log_config=None, access_log=False)
    server = QuietServer(config)
    serving = asyncio.create_task(server.serve())
    async with asyncio.timeout(30):
        while not server.started:
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[TemporalServer]:
    """Temporal's dev server."""
    free = ports.claim({"--temporal-port": 0, "--ui-port": 0})
    data = tmp_path_factory.mktemp("temporal")
    server = TemporalServer(data, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@dataclass
class ApiProcess:
    """`python -m api`, started on a free port."""

    environment: dict[str, str]
    log: Path

    async def __aenter__(self) -> Self:
        port = ports.claim({"--port": 0})["--port"]
        self.url = f"http://127.0.0.1:{port}"
        self.base = f"{self.url}/api/v1/workspace/{WORKSPACE}/projects"
        plain = {name: value for name, value in os.environ.items() if not name.startswith("CALLBOARD_")}
        with self.log.open("wb") as log:
            self.process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "api"),
                cwd=Path(__file__).parents[2],
                env={**plain, **self.environment, "CALLBOARD_PORT": str(port)},
                stdout=log,
                stderr=log,
            )
        self.client = httpx.AsyncClient(headers={"x-api-key": KEY}, timeout=90)
        return self

    async def alive(self) -> None:
        """Wait until it answers."""
        async with asyncio.timeout(30):
            while True:
                assert self.process.returncode is None, self.log.read_text()
                with suppress(httpx.TransportError):
                    if (await self.client.get(f"{self.url}/healthz")).is_success:
                        return
                await asyncio.sleep(0.05)

    async def __aexit__(self, *_: object) -> None:
        await self.client.aclose()
        if self.process.returncode is None:
            self.process.kill()
        await self.process.wait()


@pytest.fixture
def api_process(deployed: FolderStore, artifacts: Path, tmp_path: Path) -> Callable[..., ApiProcess]:
    """Makes the api as a process of its own, over the deployed projects."""

    def make(**environment: str) -> ApiProcess:
        defaults = {
            "CALLBOARD_API_KEYS": KEY,
            "CALLBOARD_SECRET_KEY": SECRET,
            "CALLBOARD_WORKSPACE_ID": WORKSPACE,
            "CALLBOARD_ARTIFACTS": str(artifacts),
            "CALLBOARD_VIEWER_PORT": "0",
        }
        return ApiProcess({**defaults, **environment}, tmp_path / "api.log")

    return make
