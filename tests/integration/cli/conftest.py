"""A Temporal server for the tests of a module."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from callboard.dev.temporal import TemporalServer
from tests.support.temporal_servers import dev_server


@pytest.fixture(scope="module")
async def server(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server
