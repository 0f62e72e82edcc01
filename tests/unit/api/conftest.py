"""Fixtures of the api: its application in this process, and the same on a port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import pytest
import uvicorn

from storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi, QuietServer, api_settings
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
async def api(make_api: MakeApi) -> Api:
    return await make_api()


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
