"""What tests of several rooms share: the whole stack as `callboard dev` brings it up, the example site, packages."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import hypothesis
import pytest

from devstack import ports
from devstack.dev import DevStack
from examples.site import proxy
from machines.scratch_cleanup import processes_of
from settings import Settings
from tests.support.package_index import FETCHED, package_index
from tests.support.scheduling import pytest_collection_modifyitems as pytest_collection_modifyitems
from tests.support.scheduling import pytest_xdist_make_scheduler as pytest_xdist_make_scheduler

REPOSITORY = Path(__file__).parents[1]

# How quick an example is, and how quickly one is made, is the machine's business: it may be busy.
hypothesis.settings.register_profile(
    "callboard", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("callboard")


# Who starts the tests in the background of a script has SIGINT ignored, and processes inherit that: no command that is
# started here would hear Ctrl-C.
signal.signal(signal.SIGINT, signal.default_int_handler)


@dataclass
class Stack:
    """A running stack and how to talk to it."""

    url: str
    api_key: str
    workspace: str
    site: str
    data: Path
    projects: Path
    """Its project folders; what is written there is published."""
    http: httpx.AsyncClient
    dev: DevStack

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, projects: Path, site: str) -> AsyncGenerator[Self]:
        """A stack over a folder of projects, for as long as the block lasts; it leaves nothing behind."""
        data = folder / "data"
        dev = DevStack(projects, Settings(data_dir=data, port=0), temporal_port=0, ui_port=0, report=print)
        async with (
            dev,
            httpx.AsyncClient(
                base_url=dev.url, headers={"x-api-key": dev.api_key}, timeout=90, trust_env=False
            ) as http,
        ):
            await dev.projects.settle(timedelta(minutes=5))  # also the environments of examples
            yield cls(dev.url, dev.api_key, dev.settings.workspace, site, data, projects, http, dev)
        assert processes_of(data) == []
        assert list((data / "workers").iterdir()) == []

    def path(self, project: str, rest: str) -> str:
        return f"/api/v1/workspace/{self.workspace}/projects/{project}/run/{rest}"

    async def start(self, api: str, parameters: Any = None, *, project: str = "lab", **fields: Any) -> str:
        """Start a Run; its id."""
        answer = await self.http.post(
            self.path(project, "start"), json={"api": api, "parameters": parameters or {}, **fields}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["runId"]

    async def result(self, run_id: str, *, project: str = "lab", wait: float = 60) -> dict[str, Any]:
        answer = await self.http.get(self.path(project, f"{run_id}/result"), params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def cancel(self, run_id: str, *, project: str = "lab", wait: float = 30) -> dict[str, Any]:
        answer = await self.http.post(self.path(project, f"{run_id}/cancel"), params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def run(self, api: str, parameters: Any = None, *, project: str = "lab", **fields: Any) -> dict[str, Any]:
        """Start a Run and wait for its end."""
        return await self.result(await self.start(api, parameters, project=project, **fields), project=project)

    async def until_status(self, run_id: str, status: str, *, project: str = "lab") -> None:
        async with asyncio.timeout(30):
            while (await self.result(run_id, project=project, wait=0))["status"] != status:
                await asyncio.sleep(0.05)


@dataclass(frozen=True)
class ExampleSite:
    """Addresses of the running example site, and of its proxy with the credentials that it asks for."""

    address: str
    proxy: str


@pytest.fixture(scope="session")
async def example_site() -> AsyncIterator[ExampleSite]:
    port, proxy_port = ports.claim({"--port": 0, "--proxy-port": 0}).values()
    address = f"http://127.0.0.1:{port}"
    options = ["--port", str(port), "--proxy-port", str(proxy_port)]
    server = await asyncio.create_subprocess_exec(sys.executable, "-m", "examples.site", *options, cwd=REPOSITORY)
    try:
        async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
            while server.returncode is None:
                try:
                    await client.get(f"{address}/healthz")
                    break
                except httpx.TransportError:
                    await asyncio.sleep(0.02)
        yield ExampleSite(address, f"http://{proxy.USER}:{proxy.PASSWORD}@127.0.0.1:{proxy_port}")
        server.terminate()
        # Ends at once, also if pages are still being served.
        assert await asyncio.wait_for(server.wait(), 10) in {0, -15}
    finally:
        if server.returncode is None:
            server.kill()
            await server.wait()


@pytest.fixture(scope="session")
def site(example_site: ExampleSite) -> str:
    """Address of a running example site."""
    return example_site.address


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """From here on, uv installs from an index of this host, here and in processes that are started here.

    Whatever else the environment tells uv does not count, nor what it has in its cache: it is the same everywhere.
    """
    if not FETCHED.is_dir():
        pytest.fail("This needs packages to install. `make test` fetches them, and so does `bash scripts/packages.sh`.")
    cache = tmp_path_factory.mktemp("uv-cache")
    with package_index(FETCHED) as index, pytest.MonkeyPatch.context() as environment:
        for name in [name for name in os.environ if name.startswith("UV_")]:
            environment.delenv(name)
        environment.setenv("UV_DEFAULT_INDEX", index)
        environment.setenv("UV_CACHE_DIR", str(cache))
        for name in ("NO_PROXY", "no_proxy"):
            environment.setenv(name, "127.0.0.1", prepend=",")
        yield
    shutil.rmtree(cache)


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, site: str, packages: None) -> AsyncIterator[Stack]:
    """The embedded stack over the example projects and those of tests/e2e/projects. One for the whole session."""
    folder = tmp_path_factory.mktemp("stack")
    projects = folder / "projects"
    shutil.copytree(REPOSITORY / "tests" / "e2e" / "projects", projects)
    shutil.copytree(REPOSITORY / "examples" / "projects", projects, dirs_exist_ok=True)
    async with Stack.up(folder, projects, site) as running:
        yield running
