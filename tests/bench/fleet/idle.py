"""What one worker costs that has nothing to do, with few projects and with many."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

from rich.table import Table

from tests.bench.fleet.figures import Meter
from tests.bench.fleet.installation import Installation

_SETTLE_SECONDS = 15
"""Time from when all projects are served until the figures are those of a worker at rest."""
_MACHINES = 4


async def measure(sizes: Sequence[int], seconds: float) -> Table:
    """Return the table, for one worker with these numbers of projects."""
    table = Table(
        "idle projects",
        "taken up within, s",
        "worker, processor s/min",
        "memory, MB",
        "Temporal, processor s/min",
        "memory, MB",
        "polls",
        "requests/min",
        "of them polls",
    )
    for size in sizes:
        async with Installation.up() as installation:
            await installation.deploy_idle(size)
            async with installation.workers(1, capacity=_MACHINES) as (worker,):
                began = time.perf_counter()
                await installation.until_held(size)
                taken_up = time.perf_counter() - began
                await asyncio.sleep(_SETTLE_SECONDS)
                server = installation.metrics.server
                meter = Meter([worker, server], installation.metrics)
                await meter.start()
                await asyncio.sleep(seconds)
                cost = await meter.stop()
                polls = (await installation.metrics.read()).polls
                table.add_row(
                    str(size),
                    f"{taken_up:.1f}",
                    f"{cost.processor_seconds[0]:.1f}",
                    f"{worker.memory_info().rss / 1e6:.0f}",
                    f"{cost.processor_seconds[1]:.1f}",
                    f"{server.memory_info().rss / 1e6:.0f}",
                    str(polls),
                    str(cost.requests.total()),
                    str(sum(count for name, count in cost.requests.items() if name.startswith("Poll"))),
                )
    return table
