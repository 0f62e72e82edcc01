"""`make bench-lists`: how quick lists of Runs are when there are many of them on the embedded server.

The Runs are started as the api starts them and end as Runs end, but without an Attempt. The api is a process of its own
and is asked over HTTP, one request after the other.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import re
import secrets
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from temporalio.client import Client
from temporalio.worker import UnsandboxedWorkflowRunner, Worker

from bench.endings import EndingRun
from bench.servers import api_of, temporal_tuned
from devstack import ports
from projects.deploy import deploy
from schemas.workflow import names
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunInput, RunStatus
from settings import Settings
from storage.folder import FolderStore
from temporal.client import connect
from temporal.runs import Runs

PROJECT = "many"
APIS = ("list", "details", "search")
_ENDS = (
    *[RunStatus.COMPLETED] * 80,
    *[RunStatus.FAILED] * 15,
    *[RunStatus.CANCELED] * 5,
)
_UNFINISHED = 25
"""Number of pending Runs, and of started Runs."""
_AT_ONCE = 16
_KEY = "key-of-the-bench-of-lists"
_ASSET = re.compile(r"""(?:href|src)="(/assets/[^"]+)""")

console = Console()


@dataclass
class Measured:
    """One kind of request, and what was measured of it."""

    name: str
    path: str
    accept: str = "application/json"
    took: list[float] = field(default_factory=list[float])
    """Seconds that each request took."""
    size: int = 0
    """Size of the answer in bytes."""


async def main(runs: int, repetitions: int) -> None:
    """Fill a server with Runs, measure requests to the api, print the results, and stop everything."""
    with tempfile.TemporaryDirectory(prefix="callboard-lists-") as folder:
        data = Path(folder)
        async with temporal_tuned(data) as address:
            settings = Settings(
                data_dir=data,
                temporal_address=address,
                port=ports.choose_ports({"port": 0})["port"],
                api_keys=[SecretStr(_KEY)],
                secret_key=[SecretStr(secrets.token_urlsafe(32))],
            )
            version = await _deployed(data, settings)
            client = await connect(settings)
            async with _worker(client):
                began = time.perf_counter()
                await _fill(client, settings, version, runs)
                took = time.perf_counter() - began
            console.print(f"{runs} Runs in {took:.0f} s, {runs / took:.0f} a second", style="dim")
            async with api_of(settings, data / "logs" / "api.log"):
                await _ask(settings, repetitions)


async def _deployed(folder: Path, settings: Settings) -> str:
    (folder / PROJECT / "api").mkdir(parents=True)
    (folder / PROJECT / "Intuned.json").write_text("{}")
    for api in APIS:
        (folder / PROJECT / "api" / f"{api}.py").write_text("async def automation(page, params, **_kwargs): ...\n")
    manifest = await deploy(folder / PROJECT, FolderStore(Path(settings.artifact_location)))
    return manifest.version


@asynccontextmanager
async def _worker(client: Client) -> AsyncGenerator[None]:
    async with Worker(
        client,
        task_queue=names.CALLBOARD_QUEUE,
        workflows=[EndingRun],
        workflow_runner=UnsandboxedWorkflowRunner(),
        max_cached_workflows=0,  # Each workflow has one workflow task, so a cache is useless.
    ):
        yield


async def _fill(client: Client, settings: Settings, version: str, many: int) -> None:
    engine, chance = Runs(client), random.Random(1)
    ends = [*[RunStatus.PENDING] * _UNFINISHED, *[RunStatus.STARTED] * _UNFINISHED]
    ends += [chance.choice(_ENDS) for _ in range(many - len(ends))]
    left = iter(enumerate(ends, 1))

    async def start() -> None:
        for number, status in left:
            order = RunInput(
                workspace=settings.workspace,
                project=PROJECT,
                version=version,
                api=APIS[number % len(APIS)],
                parameters=JsonRef(text=status.value, size=len(status.value)),
                maximum_attempts=3,
                request_timeout=timedelta(minutes=10),
            )
            run_id = secrets.token_urlsafe(16)[:21]
            await engine.start(run_id, order, fingerprint="")
            if status in _ENDS:  # A long task queue slows the server down.
                await client.get_workflow_handle(run_id).result()
            if number % 1000 == 0:
                console.print(f"{number} of {many} are there", style="dim")

    async with asyncio.TaskGroup() as group:
        for _ in range(_AT_ONCE):
            group.create_task(start())
    while True:
        unfinished = await client.count_workflows(f"{names.SEARCH_RUN_TYPE} IS NOT NULL AND CloseTime IS NULL")
        counted = await client.count_workflows(f"{names.SEARCH_RUN_TYPE} IS NOT NULL")
        if (unfinished.count, counted.count) == (2 * _UNFINISHED, many):
            return
        console.print(f"{unfinished.count} have not ended, or are not listed yet", style="dim")
        await asyncio.sleep(5)


async def _ask(settings: Settings, repetitions: int) -> None:
    base, page = f"/api/v1/workspace/{settings.workspace}/projects/{PROJECT}/runs", f"/projects/{PROJECT}/runs"
    async with httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{settings.port}", headers={"x-api-key": _KEY}, timeout=120, trust_env=False
    ) as http:
        deep = await _halfway(http, base)
        rows = [
            Measured("status=failed&api=details", f"{base}?limit=50&status=failed&api=details"),
            Measured("two statuses, of the last hour", f"{base}?limit=50&status=failed&status=canceled&{_since(1)}"),
            Measured("status=failed, and none is", f"{base}?limit=50&status=failed&startedBefore=2026-01-01T00:00:00Z"),
            Measured("no filter", f"{base}?limit=50"),
            Measured("no filter, halfway down, by cursor", f"{base}?limit=50&cursor={deep}"),
            Measured("no filter, 200 Runs", f"{base}?limit=200"),
            Measured("the page of the list", page, "text/html"),
            Measured("the page of the list, filtered", f"{page}?status=failed&api=details", "text/html"),
        ]
        for _ in range(repetitions):
            for row in rows:  # Rows are interleaved, so that all are measured under the same load.
                await _measure(http, row)
        _print(rows, await _assets(http, page))


def _since(hours: int) -> str:
    return f"startedAfter={time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime(time.time() - hours * 3600))}"


async def _measure(http: httpx.AsyncClient, row: Measured) -> None:
    began = time.perf_counter()
    answer = await http.get(row.path, headers={"accept": row.accept})
    row.took.append(time.perf_counter() - began)
    answer.raise_for_status()
    row.size = len(answer.content)


async def _halfway(http: httpx.AsyncClient, base: str) -> str:
    cursors: list[str] = []
    cursor: str | None = None
    async for page in _pages(http, base):
        cursor = page["nextCursor"]
        if cursor is not None:
            cursors.append(cursor)
    return cursors[len(cursors) // 2]


async def _pages(http: httpx.AsyncClient, base: str) -> AsyncGenerator[dict[str, Any]]:
    query: dict[str, Any] = {"limit": 200}
    while True:
        answer = await http.get(base, params=query)
        answer.raise_for_status()
        yield (page := answer.json())
        if page["nextCursor"] is None:
            return
        query["cursor"] = page["nextCursor"]


async def _assets(http: httpx.AsyncClient, path: str) -> int:
    """Return the size in bytes of the scripts and styles of a page, which a browser loads once."""
    page = await http.get(path, headers={"accept": "text/html"})
    return sum([len((await http.get(named)).content) for named in set(_ASSET.findall(page.text))])


def _print(rows: list[Measured], assets: int) -> None:
    table = Table("50 Runs of a list, unless said", "p50, ms", "p95, ms", "kB")
    for row in rows:
        cuts = statistics.quantiles(row.took, n=100, method="inclusive")
        table.add_row(row.name, f"{cuts[49] * 1000:.0f}", f"{cuts[94] * 1000:.0f}", f"{row.size / 1000:.0f}")
    console.print(table)
    console.print(f"Scripts and styles of the page beside it: {assets / 1000:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m bench.lists", description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repetitions", type=int, default=100, help="of each request")
    given = parser.parse_args()
    asyncio.run(main(given.runs, given.repetitions))
