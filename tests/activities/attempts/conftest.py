"""A project that is served with a real Machine, one for each module, and a Run of it for each test."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.attempt_lab import Lab, Served, open_lab, serve_lab


@pytest.fixture(scope="module")
async def served(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serve_lab(tmp_path_factory.mktemp("lab"), client) as served:
        yield served


@pytest.fixture
async def lab(served: Served, client: Client, name: str, tmp_path: Path) -> AsyncGenerator[Lab]:
    async with open_lab(served, client, name, tmp_path) as lab:
        yield lab
