"""Whether Runs of a project become slower by hundreds of idle projects beside it, and how soon a deploy is served."""

from __future__ import annotations

import asyncio
import statistics
import time

from rich.table import Table

from tests.bench.fleet.figures import percentile
from tests.bench.fleet.installation import QUICK, Installation, progress, wait_until

_PROJECT = "busy"
_MACHINES = 2
_CAPACITY = 4
_SETTLE_SECONDS = 15
_DEPLOYS = 3


async def measure(workers: int, projects: int, repetitions: int) -> Table:
    """Return the table, for no idle project and for as many as make `projects` with the busy one."""
    table = Table(
        f"idle projects beside, {workers} workers",
        "a Run, p50, ms",
        "p95, ms",
        "first of an idle one, ms",
        "taken up within, s",
        "a deploy is executed by a new Machine after, ms",
        "memory of workers, MB",
        "polls",
    )
    async with Installation.up() as installation, installation.workers(workers, capacity=_CAPACITY) as processes:
        for idle in (0, projects - 1):
            await installation.deploy(_PROJECT, QUICK, machines=_MACHINES)
            began = time.perf_counter()
            await installation.deploy_idle(idle)
            await installation.until_held(1 + idle)
            taken_up = time.perf_counter() - began
            progress(f"{1 + idle} projects are leased after {taken_up:.1f} s")
            await asyncio.sleep(_SETTLE_SECONDS)
            await installation.timed(_PROJECT)
            took = [await installation.timed(_PROJECT) for _ in range(repetitions)]
            progress(f"{repetitions} Runs beside {idle} idle projects took {sum(took):.1f} s")
            cold = [await installation.timed(f"idle-{number}") for number in range(min(idle, _DEPLOYS))]
            deploys = [await _deploy(installation, number) for number in range(_DEPLOYS)]
            table.add_row(
                str(idle),
                *(f"{percentile(took, of) * 1000:.0f}" for of in (50, 95)),
                f"{statistics.median(cold) * 1000:.0f}" if cold else "",
                f"{taken_up:.1f}",
                f"{statistics.median(deploys) * 1000:.0f}",
                ", ".join(f"{process.memory_info().rss / 1e6:.0f}" for process in processes),
                str((await installation.metrics.read()).polls),
            )
    return table


async def _deploy(installation: Installation, number: int) -> float:
    """Deploy the busy project, and return the seconds until its Runs execute what was deployed."""
    text = f"async def automation(page, params=None, **_kwargs):\n    return 'deploy {number}'\n"
    await installation.deploy(_PROJECT, {"api/work.py": text}, machines=_MACHINES)
    began = time.perf_counter()

    async def is_executed() -> bool:
        result = await installation.result(_PROJECT, await installation.start(_PROJECT))
        return result["result"] == f"deploy {number}"

    await wait_until(is_executed)
    took = time.perf_counter() - began
    progress(f"a deploy was executed after {took:.2f} s")
    return took
