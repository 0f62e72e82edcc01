"""Report by metrics how many Machines a worker may have, and how many it has."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import timedelta

from callboard.machines.lease import Lease
from callboard.machines.pool import Pool
from callboard.telemetry import metrics

_INTERVAL = timedelta(seconds=1)
"""Time between two looks, and so the delay of a change."""

_Numbers = Mapping[str, int]


async def count_repeatedly(pools: Mapping[str, Pool], lease: Lease, on_round: Callable[[], None]) -> None:
    """Count the Machines until cancelled. `on_round` is called after each look at them."""
    counted: dict[str, _Numbers] = {}
    while True:
        if metrics.current().is_on:
            counted = count_machines(pools, lease, counted)
        on_round()
        await asyncio.sleep(_INTERVAL.total_seconds())


def count_machines(pools: Mapping[str, Pool], lease: Lease, before: Mapping[str, _Numbers]) -> dict[str, _Numbers]:
    """Tell by metrics what has changed of the Machines of each project, and return all numbers.

    A project that has gone ends with 0.
    """
    numbers: dict[str, _Numbers] = {}
    present = {*pools, *lease.projects}
    for project in {*present, *before}:
        pool = pools.get(project)
        numbers[project] = {
            "leased": lease.share(project),
            "busy": pool.busy if pool else 0,
            "warm": pool.warm if pool else 0,
            "memory": pool.memory if pool else 0,
        }
        if numbers[project] != before.get(project):
            metrics.current().machines(project, **numbers[project])
    return {project: numbers[project] for project in present}
