"""The servers that Runs are staged on, and a stage of its own for each test."""

import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack

import pytest
from temporalio.client import Client

from tests.support.auth_shapes import played_login
from tests.support.auth_stage import LoginStage
from tests.support.job_run_stage import JobRunStage
from tests.support.run_shapes import played
from tests.support.run_stage import PlayRun, RunStage
from tests.support.temporal_servers import dev_client, dev_server, skipping_client

PlayLogin = Callable[[str], Awaitable[LoginStage]]


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Client]:
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield await dev_client(server)


@pytest.fixture(scope="module")
async def skipping() -> AsyncIterator[Client]:
    """Of a server whose clock goes on by itself while nothing is to be done."""
    async with skipping_client() as client:
        yield client


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """Unique: of the test."""
    return re.sub(r"[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower()).strip("-")


@pytest.fixture
async def stage(name: str, temporal: Client) -> AsyncIterator[RunStage]:
    """On the server of `callboard dev`."""
    async with RunStage(temporal, name) as stage:
        yield stage


@pytest.fixture
async def play(name: str, temporal: Client) -> AsyncIterator[PlayRun]:
    """Plays a shape to its end; the stage, to see what happened."""
    async with AsyncExitStack() as stages:

        async def play(shape: str) -> RunStage:
            return await stages.enter_async_context(played(shape, temporal, name))

        yield play


@pytest.fixture
async def login_stage(name: str, temporal: Client) -> AsyncIterator[LoginStage]:
    """With an AuthSession."""
    async with LoginStage(temporal, name) as stage:
        yield stage


@pytest.fixture
async def play_login(name: str, temporal: Client) -> AsyncIterator[PlayLogin]:
    """Plays a shape with an AuthSession to its end."""
    async with AsyncExitStack() as stages:

        async def play(shape: str) -> LoginStage:
            return await stages.enter_async_context(played_login(shape, temporal, name))

        yield play


@pytest.fixture
async def job_run(name: str, temporal: Client) -> AsyncIterator[JobRunStage]:
    async with JobRunStage(temporal, name) as stage:
        yield stage
