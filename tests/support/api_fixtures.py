"""Fixtures of the application of the api in this process, and of the projects that are deployed behind it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from pathlib import Path
from typing import Any

import pytest

from callboard.storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi, api_settings, deploy_project
from tests.support.in_memory_temporal import MemoryRuns


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
