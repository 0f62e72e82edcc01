"""Temporal as `callboard dev` starts it, with a worker for Runs."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker

from contract.flow import names
from contract.flow.attempt import LostInput
from engine.runs import Runs
from stack.temporal import TemporalServer
from tests.workflows.scripted import IDENTITY, WORKFLOWS, Stage
from tests.workflows.servers import dev_client, dev_server


@activity.defn(name=names.RECORD_LOST)
async def record_lost(_lost: LostInput) -> None:
    pass


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[TemporalServer]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server


@pytest.fixture(scope="session")
async def client(temporal: TemporalServer) -> AsyncGenerator[Client]:
    client = await dev_client(temporal)
    queue = names.CALLBOARD_QUEUE
    async with Worker(client, task_queue=queue, workflows=WORKFLOWS, activities=[record_lost], identity=IDENTITY):
        yield client


@pytest.fixture
def runs(client: Client) -> Runs:
    return Runs(client)


@pytest.fixture
async def stage(request: Any, client: Client) -> AsyncGenerator[Stage]:
    """Attempts for the Runs of a project that is this test's alone."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")
    async with Stage(client, name[:50].strip("-"), queue=names.CALLBOARD_QUEUE) as stage:
        yield stage
