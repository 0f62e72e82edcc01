"""Which projects this worker serves: for each a pool of Machines, and a Temporal worker with as many slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from contract.errors import CallboardError
from contract.flow import names
from machines.machine import Launch
from machines.pool import Pool
from machines.slot import Limits
from projects.catalog import Catalog

log = logging.getLogger(__name__)

HEARTBEAT_THROTTLE = timedelta(seconds=5)


class WorkerPools:
    """The pools by project."""

    def __init__(self, launch: Launch, limits: Limits) -> None:
        self._launch = launch
        self._limits = limits
        self._pools: dict[str, Pool] = {}

    def of(self, project: str) -> Pool:
        """The pool of `project`."""
        return self._pools[project]

    async def size(self, project: str, machines: int) -> None:
        """Make the pool, or change how many Machines it may have."""
        pool = self._pools.get(project)
        if pool is None:
            self._pools[project] = Pool(project, machines, self._launch, self._limits)
        else:
            await pool.resize(machines)

    async def close(self) -> None:
        """Stop all Machines."""
        await asyncio.gather(*(pool.close() for pool in self._pools.values()))


@dataclass
class _Served:
    machines: int
    worker: Worker


class Serving:
    """Follows the catalog: a project that appears is served, one whose number of Machines changes is served anew.

    While the number changes, the old Temporal worker lets its Attempts finish as the new one takes others; the pool
    sees to it that there are never more Machines than the larger of the two numbers.
    """

    def __init__(
        self,
        *,
        client: Client,
        identity: str,
        catalog: Catalog,
        pools: WorkerPools,
        attempt: Callable[..., Any],
        drain: timedelta,
    ) -> None:
        self._client = client
        self._identity = identity
        self._catalog = catalog
        self._pools = pools
        self._attempt = attempt
        self._drain = drain
        self._served: dict[str, _Served] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def follow(self, interval: timedelta) -> None:
        """Look again and again, until cancelled. Raises what stops one of the Temporal workers for good."""
        while True:
            await self.refresh()
            await asyncio.wait({self._failure}, timeout=interval.total_seconds())
            if self._failure.done():
                await self._failure

    async def refresh(self) -> None:
        """Look once. A store that does not answer changes nothing."""
        try:
            for project in await self._catalog.projects():
                manifest = await self._catalog.current(project)
                if manifest is not None:
                    await self._serve(project, manifest.settings.machines)
        except CallboardError as error:
            log.warning("cannot look for new versions: %s", error.message)

    async def stop(self) -> None:
        """Take no new Attempt, let running ones finish for as long as the drain time allows, then interrupt them."""
        await asyncio.gather(*(served.worker.shutdown() for served in self._served.values()))
        if self._running:
            await asyncio.wait(self._running)

    async def _serve(self, project: str, machines: int) -> None:
        served = self._served.get(project)
        if served is not None and served.machines == machines:
            return
        await self._pools.size(project, machines)
        worker = Worker(
            self._client,
            task_queue=names.project_queue(project),
            activities=[self._attempt],
            identity=self._identity,
            max_concurrent_activities=machines,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(min(machines, 5)),
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=self._drain,
        )
        self._served[project] = _Served(machines, worker)
        self._keep(worker.run(), f"serve {project}")
        log.info("serving project %s with %d Machine(s)", project, machines)
        if served is not None:
            self._keep(served.worker.shutdown(), f"drain {project}")

    def _keep(self, work: Any, name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
