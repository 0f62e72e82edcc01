"""`make bench-waits`: ten thousand clients wait for results, of one Run and then of a Run each.

The Runs are started as the api starts them, but no worker serves them: they are terminated in Temporal, and clients are
told so. The api is a process of its own, and knows none of the Runs beforehand. Where each client has a Run, only some
of the Runs are ended: the embedded server ends some dozens a second.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import resource
import secrets
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import override

import psutil
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from temporalio.client import Client

from bench.concurrency import for_each
from bench.servers import api_of, temporal_tuned
from devstack import ports
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunInput
from settings import Settings
from temporal.client import connect
from temporal.runs import Runs

_PROJECT = "waits"
_KEY = "key-of-the-bench-of-waits"
_AT_ONCE = 16
"""Runs that are started or terminated at the same time."""
_CONNECTS_PER_SECOND = 500
_OTHER_CONNECTIONS = 10
_SETTLE_SECONDS = 10
"""Time for the api to accept the last clients, and to come to rest."""

console = Console()


@dataclass
class Told:
    """What the clients of one scenario were told."""

    delays: list[float] = field(default_factory=list[float])
    """Seconds from the end of a Run until a client was told, one for each client."""
    errors: list[str] = field(default_factory=list[str])
    """Status lines of answers other than 200."""


class WaitingClient(asyncio.Protocol):
    """A client that asks for a result, with the longest wait, until the Run has ended."""

    def __init__(self, settings: Settings, run_id: str, ended_at: dict[str, float], told: Told) -> None:
        path = f"/api/v1/workspace/{settings.workspace}/projects/{_PROJECT}/run/{run_id}/result?wait=60"
        self._request = f"GET {path} HTTP/1.1\r\nhost: bench\r\nx-api-key: {_KEY}\r\n\r\n".encode()
        self.run_id = run_id
        self._ended_at = ended_at
        self._told = told
        self._answer = b""
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] - as asyncio calls it
        self._transport = transport
        transport.write(self._request)

    @override
    def data_received(self, data: bytes) -> None:
        self._answer += data
        head, _, body = self._answer.partition(b"\r\n\r\n")
        headers = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        if len(body) < int(headers.get(b"content-length", b"1")):
            return
        status_line, self._answer = head.split(b"\r\n")[0].decode(), b""
        if status_line.split()[1] != "200":
            self._told.errors.append(status_line)
        elif json.loads(body)["status"] == "canceled":
            now = time.perf_counter()
            self._told.delays.append(now - self._ended_at.get(self.run_id, now))
            self._transport.close()
            self.done.set_result(None)
            return
        self._transport.write(self._request)

    def hang_up(self) -> None:
        """Leave without an answer."""
        self._transport.abort()
        self.done.cancel()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(exc or ConnectionError("the api closed the connection"))


async def main(clients: int, ends: int, ends_per_second: int) -> None:
    """Measure both scenarios, print the results, and stop everything."""
    _, hard_limit = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard_limit, hard_limit))
    table = Table(
        f"{clients} clients wait", "told, p50, s", "p99, s", "last, s", "errors", "api at rest, MB", "peak, MB"
    )
    with tempfile.TemporaryDirectory(prefix="callboard-waits-") as folder:
        data = Path(folder)
        async with temporal_tuned(data) as address:
            settings = Settings(
                data_dir=data,
                temporal_address=address,
                port=ports.choose_ports({"port": 0})["port"],
                api_keys=[SecretStr(_KEY)],
                secret_key=[SecretStr(secrets.token_urlsafe(32))],
                max_connections=clients + _OTHER_CONNECTIONS,
            )
            client = await connect(settings)
            for name, runs in (("for one Run", 1), ("for a Run each", clients)):
                run_ids = [secrets.token_urlsafe(16)[:21] for _ in range(runs)]
                await _start(client, settings, run_ids)
                async with api_of(settings, data / "logs" / "api.log") as api:
                    memory = psutil.Process(api.pid)
                    at_rest = memory.memory_info().rss
                    told, peak = await _measure(client, settings, run_ids, clients, ends, ends_per_second, memory)
                cuts = statistics.quantiles(told.delays, n=100, method="inclusive")
                figures = [f"{cuts[49]:.2f}", f"{cuts[98]:.2f}", f"{max(told.delays):.2f}", str(len(told.errors))]
                table.add_row(name, *figures, f"{at_rest / 1e6:.0f}", f"{peak / 1e6:.0f}")
    console.print(table)


async def _start(client: Client, settings: Settings, run_ids: list[str]) -> None:
    runs, run_input = Runs(client), _run_input(settings)
    await for_each(run_ids, lambda run_id: runs.start(run_id, run_input, fingerprint=""), at_once=_AT_ONCE)
    console.print(f"{len(run_ids)} Runs are there", style="dim")


def _run_input(settings: Settings) -> RunInput:
    return RunInput(
        workspace=settings.workspace,
        project=_PROJECT,
        version="0123456789abcdef",
        api="list",
        parameters=JsonRef(text="{}", size=2),
        maximum_attempts=1,
        request_timeout=timedelta(minutes=10),
    )


async def _measure(
    client: Client,
    settings: Settings,
    run_ids: list[str],
    clients: int,
    ends: int,
    ends_per_second: int,
    api: psutil.Process,
) -> tuple[Told, int]:
    """Return what the clients were told, and the peak of the api's resident memory in bytes."""
    told, ended_at = Told(), dict[str, float]()
    waiting = [
        await _connect(settings, run_ids[number % len(run_ids)], ended_at, told, number) for number in range(clients)
    ]
    console.print(f"{clients} clients wait", style="dim")
    await asyncio.sleep(_SETTLE_SECONDS)
    peak = api.memory_info().rss
    # The Runs that are waited for last are ended first: there is no place for them on histories.
    ended = run_ids[::-1][:ends]
    began = time.perf_counter()

    async def end(number: int) -> None:
        await asyncio.sleep(max(0.0, began + number / ends_per_second - time.perf_counter()))
        await client.get_workflow_handle(ended[number]).terminate()
        ended_at[ended[number]] = time.perf_counter()

    await for_each(range(len(ended)), end, at_once=_AT_ONCE)
    concerned = [waiting_client for waiting_client in waiting if waiting_client.run_id in ended_at]
    while not all(waiting_client.done.done() for waiting_client in concerned):
        peak = max(peak, api.memory_info().rss)
        await asyncio.sleep(0.1)
    await asyncio.gather(*(waiting_client.done for waiting_client in concerned))
    for waiting_client in waiting:
        waiting_client.hang_up()
    return told, peak


async def _connect(
    settings: Settings, run_id: str, ended_at: dict[str, float], told: Told, number: int
) -> WaitingClient:
    if number % 100 == 0:
        await asyncio.sleep(100 / _CONNECTS_PER_SECOND)
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: WaitingClient(settings, run_id, ended_at, told), "127.0.0.1", settings.port
    )
    return client


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="make bench-waits", description=__doc__)
    parser.add_argument("--clients", type=int, default=10_000)
    parser.add_argument("--ends", type=int, default=1000, help="Runs that end, where each client has one of its own")
    parser.add_argument("--ends-per-second", type=int, default=20)
    given = parser.parse_args()
    asyncio.run(main(given.clients, given.ends, given.ends_per_second))
