"""Hold the pools of Machines of a worker: one for each project that it serves."""

from __future__ import annotations

import asyncio

from machines.machine_start import LaunchOptions
from machines.pool import Pool
from machines.slot import RecycleLimits
from temporal.pool_usage import PoolUsage


class MachinePools:
    """The pools of Machines, by project."""

    def __init__(self, launch_options: LaunchOptions, recycle_limits: RecycleLimits) -> None:
        self._launch_options = launch_options
        self._recycle_limits = recycle_limits
        self._pools: dict[str, Pool] = {}

    def __getitem__(self, project: str) -> Pool:
        return self._pools[project]

    def usage(self) -> dict[str, PoolUsage]:
        """Return the number of busy and warm Machines, by project."""
        level = self._launch_options.isolation
        return {project: PoolUsage(pool.busy, pool.warm, level) for project, pool in self._pools.items()}

    def memory(self) -> dict[str, int]:
        """Return how many bytes the Machines had allocated a moment ago, by project."""
        return {project: pool.memory for project, pool in self._pools.items()}

    def bounds(self) -> dict[str, int]:
        """Return how many Machines there are at most of each project until its pool is resized."""
        return {project: pool.bound for project, pool in self._pools.items()}

    def size(self, project: str) -> int:
        """Return how many Machines the project may have, as it was set last."""
        pool = self._pools.get(project)
        return 0 if pool is None else pool.size

    async def resize(self, project: str, machines: int) -> None:
        """Change how many Machines the project may have; its pool is created the first time."""
        pool = self._pools.get(project)
        if pool is None and machines == 0:
            return
        if pool is None:
            self._pools[project] = Pool(project, machines, self._launch_options, self._recycle_limits)
        else:
            await pool.resize(machines)

    async def close(self) -> None:
        """Stop all Machines."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))
