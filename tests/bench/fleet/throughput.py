"""How many Runs a second one, two and three workers execute, where Attempts wait instead of computing."""

from __future__ import annotations

import asyncio
import time

import psutil
from rich.table import Table

from tests.bench.fleet.installation import Installation

_PROJECT = "waiting"
_WAITED = 1.0
"""Seconds that each Attempt waits."""
_WAITING = {
    "api/work.py": f"""import asyncio


async def automation(page, params=None, **_kwargs):
    await asyncio.sleep({_WAITED})
"""
}
_CLIENTS_PER_MACHINE = 2
"""So that a Run always waits for the next free Machine."""


async def measure(workers: int, machines: int, seconds: float) -> Table:
    """Return the table, for one worker up to `workers` with `machines` each."""
    table = Table(
        f"workers, {machines} Machines each", "Runs/s", "of Machines alone", "of one worker", "processors busy, %"
    )
    alone = 0.0
    async with Installation.up() as installation:
        for count in range(1, workers + 1):
            await installation.deploy(_PROJECT, _WAITING, machines=count * machines)
            async with installation.workers(count, capacity=machines) as processes:
                await installation.until_held(1)
                per_second, busy = await _execute(installation, len(processes) * machines, seconds)
            alone = alone or per_second
            ideal = count * machines / _WAITED
            table.add_row(
                str(count),
                f"{per_second:.2f}",
                f"{per_second / ideal:.2f}",
                f"{per_second / alone:.2f}",
                f"{busy:.0f}",
            )
    return table


async def _execute(installation: Installation, machines: int, seconds: float) -> tuple[float, float]:
    """Return how many Runs have ended a second, and how busy all processors were, in percent."""
    ended = 0
    warm = asyncio.Event()

    async def client() -> None:
        nonlocal ended
        while True:
            await installation.timed(_PROJECT)
            ended += 1
            if ended >= 2 * machines:
                warm.set()

    async with asyncio.TaskGroup() as group:
        clients = [group.create_task(client()) for _ in range(machines * _CLIENTS_PER_MACHINE)]
        await warm.wait()
        psutil.cpu_percent()
        before, began = ended, time.perf_counter()
        await asyncio.sleep(seconds)
        per_second, busy = (ended - before) / (time.perf_counter() - began), psutil.cpu_percent()
        for each in clients:
            each.cancel()
    return per_second, busy
