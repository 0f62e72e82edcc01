"""The api as a process of its own, and a Temporal server for it."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx
import pytest

from callboard.dev import ports
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import KEY, SECRET
from tests.support.api_in_process import artifacts as artifacts
from tests.support.api_in_process import deployed as deployed
from tests.support.constants import WORKSPACE
from tests.support.polling import until
from tests.support.processes import ENDS_WELL, Process, running, surroundings
from tests.support.temporal_servers import temporal as temporal


@dataclass
class ApiProcess:
    """`python -m api`, started on free ports."""

    environment: dict[str, str]
    log: Path
    process: Process
    client: httpx.AsyncClient

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.environment['CALLBOARD_PORT']}"

    @property
    def viewer_url(self) -> str:
        return f"http://127.0.0.1:{self.environment['CALLBOARD_VIEWER_PORT']}"

    @property
    def base(self) -> str:
        return f"{self.url}/api/v1/workspace/{WORKSPACE}/projects"

    async def alive(self) -> None:
        """Wait until it answers."""

        async def answers() -> bool:
            assert self.process.returncode is None, self.log.read_text()
            with suppress(httpx.TransportError):
                return (await self.client.get(f"{self.url}/healthz")).is_success
            return False

        await until(answers, every=0.05)


MakeApi = Callable[..., AbstractAsyncContextManager[ApiProcess]]
"""Makes the api as a process of its own, over the deployed projects, from a name and variables of its environment."""


@pytest.fixture(scope="session")
def make_api(deployed: FolderStore, artifacts: Path, tmp_path_factory: pytest.TempPathFactory) -> MakeApi:
    @asynccontextmanager
    async def make(name: str, **given: str) -> AsyncGenerator[ApiProcess]:
        free = ports.choose_ports({"CALLBOARD_PORT": 0, "CALLBOARD_VIEWER_PORT": 0})
        environment = {
            **{name: str(port) for name, port in free.items()},
            "CALLBOARD_API_KEYS": KEY,
            "CALLBOARD_SECRET_KEY": SECRET,
            "CALLBOARD_WORKSPACE_ID": WORKSPACE,
            "CALLBOARD_ARTIFACTS": str(artifacts),
            "FORWARDED_ALLOW_IPS": "*",  # of uvicorn, and nothing to the api
            **given,
        }
        log, refused = tmp_path_factory.mktemp(name) / "api.log", {2, 3}
        serving = running(
            sys.executable, "-m", "api", log=log, ends=ENDS_WELL | refused, env=surroundings(**environment)
        )
        async with (
            serving as process,
            httpx.AsyncClient(headers={"x-api-key": KEY}, timeout=90) as client,
        ):
            yield ApiProcess(environment, log, process, client)

    return make


@pytest.fixture
def api_process(make_api: MakeApi) -> MakeApi:
    """Makes one that a test has for itself."""
    return partial(make_api, "api")
