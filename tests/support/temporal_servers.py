"""Temporal servers for tests and the recorder, with our search attributes and clients of a neutral identity."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import AddSearchAttributesRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from callboard.dev import ports
from callboard.dev.temporal import NAMESPACE, TemporalServer
from callboard.schemas.workflow.names import SEARCH_ATTRIBUTES
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.data_converter import data_converter
from callboard.temporal.namespace import Retention, ensure_namespace
from tests.support.stage import IDENTITY

CONVERTER = data_converter(Settings(), NAMESPACE)
"""What converts payloads and failures in the product, here without encryption."""
LONG_HISTORY = 60
"""Events with which the server suggests a fresh history; usually it is some thousands."""


def search_attribute_types() -> dict[str, IndexedValueType.ValueType]:
    """The search attributes that a namespace needs, as an administrator adds them."""
    types = {
        "Keyword": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD,
        "KeywordList": IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST,
    }
    return {name: types[kind] for name, kind in SEARCH_ATTRIBUTES.items()}


@asynccontextmanager
async def skipping_environment() -> AsyncGenerator[WorkflowEnvironment]:
    """A server of its own, with our search attributes, which skips time while somebody waits for a result."""
    program = Path(sys.executable).parent / "temporal-test-server"
    starting = WorkflowEnvironment.start_time_skipping(
        test_server_existing_path=str(program), data_converter=CONVERTER, identity=IDENTITY
    )
    async with await starting as environment:
        await environment.client.operator_service.add_search_attributes(
            AddSearchAttributesRequest(
                namespace=environment.client.namespace,
                search_attributes=search_attribute_types(),
            )
        )
        yield environment


@asynccontextmanager
async def skipping_client() -> AsyncGenerator[Client]:
    """A client of such a server."""
    async with skipping_environment() as environment:
        yield environment.client


@asynccontextmanager
async def held_client() -> AsyncGenerator[Client]:
    """A client of such a server that does not let its clock go forward by itself, as the environment's own does."""
    async with skipping_environment() as environment:
        yield await environment.connect_client(data_converter=CONVERTER, identity=IDENTITY)


@asynccontextmanager
async def dev_server(data: Path, *dynamic_config: str) -> AsyncGenerator[TemporalServer]:
    """The server of `callboard dev`, with a folder for its data, and more dynamic configuration."""
    data.mkdir(parents=True, exist_ok=True)
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(
        data,
        port=free["--temporal-port"],
        ui_port=free["--ui-port"],
        report=print,
        dynamic_config=[f"limit.historyCount.suggestContinueAsNew={LONG_HISTORY}", *dynamic_config],
    )
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


@pytest.fixture(scope="session")
async def temporal(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    """For those who import it."""
    async with dev_server(tmp_path_factory.mktemp("temporal")) as server:
        yield server


async def dev_client(server: TemporalServer, identity: str = IDENTITY) -> Client:
    return await Client.connect(server.address, namespace=NAMESPACE, data_converter=CONVERTER, identity=identity)


async def set_up_namespace(server: TemporalServer, name: str, **fields: Any) -> tuple[Settings, Client]:
    """A namespace that is set up, as settings and a client."""
    settings = Settings(temporal_address=server.address, temporal_namespace=name, **fields)
    client = await connect(settings)
    await ensure_namespace(client, Retention.from_settings(Settings()))
    return settings, client
