"""Fixtures of the activities: one Temporal for all tests of this folder, a served project, and a delivery worker."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path

import pytest
from temporalio.client import Client

from tests.support.attempt_worker import AttemptLab, Served, open_attempt_lab, serve_lab
from tests.support.control_worker import Delivering, delivering
from tests.support.run_stage import RunStage
from tests.support.stage import name_of
from tests.support.temporal_servers import dev_client, dev_server
from tests.support.webhook_receiver import Receiver, receiver


@pytest.fixture(scope="session")
async def client(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Client]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield await dev_client(server)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    return name_of(request.node.name)


@pytest.fixture
async def stage(name: str, client: Client) -> AsyncGenerator[RunStage]:
    async with RunStage(client, name) as stage:
        yield stage


@pytest.fixture
async def deliver(client: Client, tmp_path: Path) -> AsyncGenerator[Delivering]:
    async with delivering(client, tmp_path) as deliver:
        yield deliver


@pytest.fixture
async def inbox() -> AsyncGenerator[Receiver]:
    async with receiver() as inbox:
        yield inbox


@pytest.fixture(scope="session")
async def served(client: Client, tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    async with serve_lab(tmp_path_factory.mktemp("lab"), client) as served:
        yield served


@pytest.fixture
async def lab(served: Served, client: Client, name: str, tmp_path: Path) -> AsyncGenerator[AttemptLab]:
    async with open_attempt_lab(served, client, name, tmp_path) as lab:
        yield lab
