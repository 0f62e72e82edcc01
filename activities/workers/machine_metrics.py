"""Tell by metrics which Machines a worker may have and has, how much memory they take, and which come and go."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from activities.workers.machine_pools import MachinePools
from activities.workers.machine_shares import MachineShares
from machines.observer import RecycleCause
from telemetry import metrics

_INTERVAL = 2.0
"""Seconds between two looks at the Machines. They are cheap: only what has changed is told."""

_Numbers = Mapping[str, int]


class CountedMachines:
    """Counts the Machines that are started and recycled: the `MachineObserver` of a worker."""

    def started(self, project: str, /) -> None:
        """Count a Machine that is up."""
        metrics.current().machine_started(project)

    def recycled(self, project: str, cause: RecycleCause, /) -> None:
        """Count a Machine that is about to be gone."""
        metrics.current().machine_recycled(project, cause)


async def publish_machines(pools: MachinePools, shares: MachineShares) -> None:
    """Tell of the Machines of each project, until cancelled. A project that has gone ends with 0."""
    told: dict[str, _Numbers] = {}
    while True:
        usage, memory = pools.usage(), pools.memory()
        present = {*usage, *shares.projects}
        for project in {*present, *told}:
            pool = usage.get(project)
            numbers = {
                "leased": shares.share(project),
                "busy": pool.busy if pool else 0,
                "warm": pool.warm if pool else 0,
                "memory": memory.get(project, 0),
            }
            if numbers != told.get(project):
                metrics.current().machines(project, **numbers)
            if project in present:
                told[project] = numbers
            else:
                del told[project]
        await asyncio.sleep(_INTERVAL)
