from __future__ import annotations

from collections.abc import AsyncIterator, Generator

import pytest

from devstack import ports
from devstack.temporal import TemporalServer
from tests.support.fake_api import FakeApi


@pytest.fixture
def free_port() -> int:
    return ports.choose_ports({"--port": 0})["--port"]


@pytest.fixture
def api() -> Generator[FakeApi]:
    with FakeApi.served() as served:
        yield served


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    folder = tmp_path_factory.mktemp("temporal")
    server = TemporalServer(folder, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()
