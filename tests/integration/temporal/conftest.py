"""Temporal as `callboard dev` starts it, with a worker for Runs."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio import activity
from temporalio.client import Client

from callboard.dev.temporal import TemporalServer
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import InterruptedInput
from callboard.schemas.workflow.auth import DeleteStatesInput
from callboard.settings import Settings
from callboard.temporal.runs import Runs
from tests.support.auth_stage import LoginStage
from tests.support.encryption import ENCRYPTION_KEY
from tests.support.run_stage import WORKFLOWS, RunStage, both_queues, no_variables
from tests.support.stage import IDENTITY, name_of
from tests.support.temporal_servers import dev_client, set_up_namespace
from tests.support.temporal_servers import temporal as temporal


@activity.defn(name=names.RECORD_INTERRUPTED)
async def record_lost(_lost: InterruptedInput) -> None:
    pass


@activity.defn(name=names.DELETE_STATES)
async def forget_states(_input: DeleteStatesInput) -> None:
    pass


@pytest.fixture(scope="session")
async def plain_client(temporal: TemporalServer) -> AsyncGenerator[Client]:
    client = await dev_client(temporal)
    activities = [record_lost, forget_states, no_variables]
    async with both_queues(client, workflows=WORKFLOWS, activities=activities, identity=IDENTITY):
        yield client


@pytest.fixture(scope="session")
async def encrypted(temporal: TemporalServer) -> tuple[Settings, Client]:
    """A namespace of its own: in the other one, the worker of other tests has no key."""
    return await set_up_namespace(temporal, "encrypted", secret_key=[SecretStr(ENCRYPTION_KEY)], encrypt_payloads=True)


@pytest.fixture(scope="session")
async def encrypted_client(encrypted: tuple[Settings, Client]) -> AsyncGenerator[Client]:
    _, client = encrypted
    async with both_queues(client, workflows=WORKFLOWS, activities=[record_lost, forget_states, no_variables]):
        yield client


@pytest.fixture
def client(request: Any) -> Client:
    """A client with a worker for Runs. Tests that are marked `with_encryption` run once more on one that encrypts."""
    return request.getfixturevalue(getattr(request, "param", "plain_client"))


@pytest.fixture
def runs(client: Client) -> Runs:
    return Runs(client)


@pytest.fixture
def name(request: Any) -> str:
    return name_of(request.node.name)


@pytest.fixture
async def stage(name: str, client: Client) -> AsyncGenerator[RunStage]:
    """Attempts for the Runs of a project that is this test's alone."""
    async with RunStage(client, name, queue=names.CALLBOARD_QUEUE) as stage:
        yield stage


@pytest.fixture
async def login_stage(name: str, client: Client) -> AsyncGenerator[LoginStage]:
    """The same, with an AuthSession."""
    async with LoginStage(client, name, queue=names.CALLBOARD_QUEUE) as stage:
        yield stage


@pytest.fixture
async def idle_stage(name: str, client: Client) -> AsyncGenerator[LoginStage]:
    """With an AuthSession, and no worker for workflows but its own."""
    async with LoginStage(client, name) as stage:
        yield stage
