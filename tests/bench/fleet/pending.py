"""How long a start and a list of Runs take while many Runs wait for a Machine."""

from __future__ import annotations

import time
from typing import Any

from rich.table import Table

from tests.bench.concurrency import for_each
from tests.bench.fleet.figures import percentile
from tests.bench.fleet.installation import QUICK, Installation

_PROJECT = "queued"
_STARTS_AT_ONCE = 16
_LISTS: dict[str, dict[str, Any]] = {
    "list of 50, no filter": {},
    "list of 50, status=pending": {"status": "pending"},
    "list of 50, status=failed, and none is": {"status": "failed"},
}


async def measure(runs: int, repetitions: int) -> Table:
    """Return the table, for no pending Run and for this many. No worker has a Machine."""
    table = Table("pending Runs", "request", "p50, ms", "p95, ms", "p99, ms")
    async with Installation.up() as installation, installation.workers(1, role="control"):
        await installation.deploy(_PROJECT, QUICK)
        for pending in (0, runs):
            await for_each(range(pending), lambda _: installation.start(_PROJECT), at_once=_STARTS_AT_ONCE)
            for name, took in (await _ask(installation, repetitions)).items():
                table.add_row(str(pending), name, *(f"{percentile(took, of) * 1000:.0f}" for of in (50, 95, 99)))
    return table


async def _ask(installation: Installation, repetitions: int) -> dict[str, list[float]]:
    """Make the requests by turns, so that all are measured under the same load, and return the seconds they took."""
    took: dict[str, list[float]] = {name: [] for name in ("start", *_LISTS)}
    for _ in range(repetitions):
        began = time.perf_counter()
        await installation.start(_PROJECT)
        took["start"].append(time.perf_counter() - began)
        for name, query in _LISTS.items():
            began = time.perf_counter()
            (await installation.http.get(f"/{_PROJECT}/runs", params={"limit": 50, **query})).raise_for_status()
            took[name].append(time.perf_counter() - began)
    return took
