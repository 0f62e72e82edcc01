"""Fixtures of the api: its application in this process, and the same on a port."""

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest
from intuned_client import AsyncIntunedClient

from callboard.storage.folder import FolderStore
from tests.support.api_in_process import KEY, Api, MakeApi, api_settings, deploy_project
from tests.support.constants import WORKSPACE
from tests.support.deployed_projects import artifacts as artifacts
from tests.support.deployed_projects import deployed as deployed
from tests.support.in_memory_temporal import MemoryRuns


@pytest.fixture
async def make_api(deployed: FolderStore) -> AsyncGenerator[MakeApi]:
    """Makes an application with other settings; with `runs`, one that shares an engine."""
    opened: list[Any] = []

    async def make(runs: MemoryRuns | None = None, store: Any = deployed, **fields: Any) -> Api:
        api = await Api.open(api_settings(**fields), store, runs or MemoryRuns())
        lifespan = api.app.router.lifespan_context(api.app)
        await lifespan.__aenter__()
        opened.append((api.client, lifespan))
        return api

    yield make
    for client, lifespan in opened:
        await client.aclose()
        await lifespan.__aexit__(None, None, None)


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


@pytest.fixture
async def served(api: Api) -> AsyncGenerator[str]:
    """The application on a real port; its address. What `api` starts is seen there."""
    async with api.served() as url:
        yield url


@pytest.fixture
def library_options(served: str) -> dict[str, Any]:
    """What the published client library is made with."""
    return {"api_key": KEY, "workspace_id": WORKSPACE, "base_url": f"{served}/api/v1/workspace", "timeout": 30}


@pytest.fixture
async def client(library_options: dict[str, Any]) -> AsyncGenerator[AsyncIntunedClient]:
    """The published client library, unmodified, over HTTP."""
    async with AsyncIntunedClient(**library_options) as client:
        yield client
