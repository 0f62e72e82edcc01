"""The servers that workflows are staged on, and a stage of its own for each test."""

from collections.abc import AsyncIterator

import pytest
from temporalio.client import Client

from tests.support.activity_shapes import ActivityStage
from tests.support.auth_stage import LoginStage
from tests.support.deploy_shapes import DeployStage
from tests.support.job_run_stage import JobRunStage
from tests.support.run_stage import RunStage
from tests.support.shapes import Play, playing
from tests.support.stage import name_of
from tests.support.temporal_servers import dev_client, dev_server, skipping_client


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
    return name_of(request.node.name)


@pytest.fixture
async def stage(name: str, temporal: Client) -> AsyncIterator[RunStage]:
    """On the server of `callboard dev`."""
    async with RunStage(temporal, name) as stage:
        yield stage


@pytest.fixture
async def play(name: str, temporal: Client) -> AsyncIterator[Play[RunStage]]:
    async with playing(RunStage, temporal, name) as play:
        yield play


@pytest.fixture
async def login_stage(name: str, temporal: Client) -> AsyncIterator[LoginStage]:
    """With an AuthSession."""
    async with LoginStage(temporal, name) as stage:
        yield stage


@pytest.fixture
async def play_login(name: str, temporal: Client) -> AsyncIterator[Play[LoginStage]]:
    async with playing(LoginStage, temporal, name) as play:
        yield play


@pytest.fixture
async def play_activity(name: str, skipping: Client) -> AsyncIterator[Play[ActivityStage]]:
    async with playing(ActivityStage, skipping, name) as play:
        yield play


@pytest.fixture
async def play_deploy(name: str, skipping: Client) -> AsyncIterator[Play[DeployStage]]:
    async with playing(DeployStage, skipping, name) as play:
        yield play


@pytest.fixture
async def job_run(name: str, temporal: Client) -> AsyncIterator[JobRunStage]:
    async with JobRunStage(temporal, name) as stage:
        yield stage
