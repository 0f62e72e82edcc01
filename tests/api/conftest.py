"""The application in this process, over real projects in a real store and an engine that keeps Runs in memory."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest
import uvicorn
from fastapi import FastAPI

from api.app import create_app
from contract.errors import Conflict, NotFound, Unavailable
from contract.flow.auth import AuthSessionStatus
from contract.flow.auth_session import AuthSessionInput, AuthSessionView, LoginOrder, ValidateInput
from contract.flow.delivery import SinkTestInput, SinkTestOutcome
from contract.flow.run import ReasonType, RunInput, RunOutcome, RunReason, RunStatus, RunType
from engine.deliveries import DeliveryState
from engine.listing import RunFilter, RunLine, RunPage
from engine.records import AnyOrder, RunRecord, ValidateLine
from engine.runs import RunState
from engine.slots import Machines
from projects.deploy import deploy
from settings import Settings
from stack import ports
from stack.temporal import TemporalServer
from storage.folder import FolderStore

KEY = "test-key-one"
OTHER_KEY = "schlüssel-zwei"
WORKSPACE = "0f8fad5b-d9cb-469f-a165-70867728950e"
SECRET = "the older secret key of the ring"
AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"


@dataclass
class Entry:
    order: RunInput
    fingerprint: str
    rerun_of: str | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    outcome: RunOutcome | None = None


class MemoryRuns:
    """What the engine does, without Temporal. `failure` is raised by every call."""

    def __init__(self) -> None:
        self.entries: dict[str, Entry] = {}
        self.waiting = 0
        self.logins: dict[tuple[str, str], RunState] = {}
        """Runs of AuthSessions, by project and id."""
        self.unserved: set[str] = set()
        self.offered: dict[str, int] | None = None
        self.failure: BaseException | None = None

    async def start(self, run_id: str, order: RunInput, *, fingerprint: str, rerun_of: str | None = None) -> bool:
        self._fail()
        known = self.entries.get(run_id)
        if known is None:
            self.entries[run_id] = Entry(order, fingerprint, rerun_of)
            return True
        if known.fingerprint != fingerprint:
            raise Conflict("This Idempotency-Key was used before with another body.")
        return False

    async def state(self, workspace: str, project: str, run_id: str, *, wait: timedelta = timedelta()) -> RunState:
        self._fail()
        if workspace == WORKSPACE and (project, run_id) in self.logins:
            return self.logins[project, run_id]
        entry = self.entries.get(run_id)
        if entry is None or (entry.order.workspace, entry.order.project) != (workspace, project):
            raise NotFound("There is no such Run.")
        if wait:
            self.waiting += 1
            try:
                async with asyncio.timeout(wait.total_seconds()):
                    await entry.ended.wait()
            except TimeoutError:
                pass
            finally:
                self.waiting -= 1
        status = entry.outcome.status if entry.outcome else RunStatus.PENDING
        return RunState(run_id, status, entry.outcome)

    async def cancel(self, workspace: str, project: str, run_id: str, *, wait: timedelta) -> RunState:
        await self.state(workspace, project, run_id)
        if self.entries[run_id].outcome is None:
            reason = RunReason(type=ReasonType.CANCELLED_USER_ACTION, message="The Run was canceled.")
            self.end(run_id, RunOutcome(status=RunStatus.CANCELED, reason=reason))
        return await self.state(workspace, project, run_id, wait=wait)

    async def check(self) -> None:
        self._fail()

    async def machines_offered(self) -> dict[str, int] | None:
        self._fail()
        return self.offered

    async def served(self, project: str) -> bool:
        self._fail()
        return project not in self.unserved

    def end(self, run_id: str, outcome: RunOutcome) -> None:
        self.entries[run_id].outcome = outcome
        self.entries[run_id].ended.set()

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


class MemoryRecords:
    """What is known of the Runs in `MemoryRuns`, and whatever a test puts here."""

    def __init__(self, runs: MemoryRuns) -> None:
        self._runs = runs
        self.asked: list[tuple[RunFilter, int, bytes | None]] = []
        self.answer = RunPage((), None)
        self.orders: dict[str, AnyOrder] = {}
        """Of Runs that are no API's."""
        self.validated: list[ValidateLine] = []
        self.offered: dict[str, Machines] | None = {"shop": Machines(offered=3, busy=2, warm=1)}

    async def page(
        self, workspace: str, project: str, wanted: RunFilter, *, limit: int, after: bytes | None = None
    ) -> RunPage:
        assert workspace == WORKSPACE
        if project != "shop":
            return RunPage((), None)
        self.asked.append((wanted, limit, after))
        return self.answer

    async def record(self, workspace: str, project: str, run_id: str) -> RunRecord:
        state = await self._runs.state(workspace, project, run_id)
        entry = self._runs.entries.get(run_id)
        order = self.orders[run_id] if entry is None else entry.order
        return RunRecord(
            line=line(run_id, project, status=state.status, type=state.type, api=getattr(order, "api", None)),
            state=state,
            order=order,
            rerun_of=entry and entry.rerun_of,
            execution="01a210ec-1fdd",
        )

    async def validates(self, workspace: str, of: RunLine) -> list[ValidateLine]:  # noqa: ARG002
        return self.validated

    async def ahead(self, of: RunLine) -> int:  # noqa: ARG002
        return 4

    async def waiting(self, project: str) -> int:
        return 7 if project == "shop" else 0

    async def machines(self) -> dict[str, Machines] | None:
        return self.offered


class MemoryDeliveries:
    """Deliveries of the Runs, as a test puts them here."""

    def __init__(self) -> None:
        self.known: dict[str, list[DeliveryState]] = {}
        self.tests: list[SinkTestInput] = []
        self.came: SinkTestOutcome | None = None
        """Of each test of a sink; None: no worker sends it."""

    async def of_run(self, workspace: str, project: str, run_id: str) -> list[DeliveryState]:
        assert (workspace, project) == (WORKSPACE, "shop")
        return self.known.get(run_id, [])

    async def redeliver(self, workspace: str, project: str, run_id: str, delivery_id: str) -> DeliveryState:
        for state in await self.of_run(workspace, project, run_id):
            if state.id == delivery_id:
                return state
        raise NotFound("There is no such Delivery.")

    async def test(self, order: SinkTestInput) -> SinkTestOutcome:
        if self.came is None:
            raise Unavailable("No worker that delivers has sent the test in time.")
        self.tests.append(order)
        return self.came


BEGAN = datetime(2026, 11, 24, 10, tzinfo=UTC)


def line(run_id: str, project: str = "shop", **fields: Any) -> RunLine:
    """A Run as a list knows it."""
    known: dict[str, Any] = {
        "type": RunType.API,
        "status": RunStatus.PENDING,
        "api": "list",
        "version": "0123456789abcdef",
        "auth_session_id": None,
        "parent_run_id": None,
        "created_at": BEGAN,
        "started_at": None,
        "ended_at": None,
        "attempts": 0,
        "cause": None,
    }
    return RunLine(run_id=run_id, project=project, **{**known, **fields})


class MemoryAuthSessions:
    """AuthSessions without Temporal. `failure` is raised by every call that would change something."""

    def __init__(self) -> None:
        self.known: dict[tuple[str, str], AuthSessionView] = {}
        self.created: list[AuthSessionInput] = []
        self.updates: list[LoginOrder] = []
        self.validates: dict[str, ValidateInput] = {}
        self.failure: BaseException | None = None

    async def create(self, order: AuthSessionInput) -> None:
        self._fail()
        if (order.project, order.ref.owner) in self.known:
            raise Conflict("There is one already.")
        self.known[order.project, order.ref.owner] = order.view
        self.created.append(order)

    async def view(self, workspace: str, project: str, id: str) -> AuthSessionView:  # noqa: A002
        if workspace != WORKSPACE or (project, id) not in self.known:
            raise NotFound("There is no such AuthSession.")
        return self.known[project, id]

    async def views(self, workspace: str, project: str) -> list[AuthSessionView]:
        return [view for (its, _), view in sorted(self.known.items()) if its == project and workspace == WORKSPACE]

    async def update(self, workspace: str, project: str, id: str, order: LoginOrder) -> None:  # noqa: A002
        self._fail()
        await self.view(workspace, project, id)
        self.updates.append(order)

    async def record(self, workspace: str, project: str, id: str, key: str) -> AuthSessionView:  # noqa: A002
        self._fail()
        view = await self.view(workspace, project, id)
        self.known[project, id] = view.model_copy(update={"state_key": key, "status": AuthSessionStatus.READY})
        return self.known[project, id]

    async def validate(self, run_id: str, order: ValidateInput) -> None:
        self._fail()
        self.validates[run_id] = order

    async def delete(self, workspace: str, project: str, id: str) -> None:  # noqa: A002
        self._fail()
        await self.view(workspace, project, id)
        del self.known[project, id]

    def _fail(self) -> None:
        if self.failure is not None:
            raise self.failure


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
