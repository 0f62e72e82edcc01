"""Serve the projects of this worker: each has a pool of Machines, and shares that take as many Attempts at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from activities.attempts.running_attempts import RunningAttempts
from activities.workers.project_worker import ProjectWorker
from machines.machine import LaunchOptions
from machines.pool import Pool
from machines.slot import RecycleLimits
from projects.catalog import Catalog
from schemas.errors import CallboardError
from schemas.workflow.attempt import AttemptInput, AttemptOutcome
from temporal.pool_usage import Up

log = logging.getLogger(__name__)

_INTERRUPT_EVERY = 1.0


class WorkerPools:
    """The pools of Machines, by project."""

    def __init__(self, launch: LaunchOptions, limits: RecycleLimits) -> None:
        self._launch = launch
        self._limits = limits
        self._pools: dict[str, Pool] = {}

    def of(self, project: str) -> Pool:
        """Return the pool of `project`."""
        return self._pools[project]

    def up(self) -> dict[str, Up]:
        """Return the number of busy and warm Machines, by project."""
        return {project: Up(pool.busy, pool.warm) for project, pool in self._pools.items()}

    async def size(self, project: str, machines: int) -> None:
        """Create the pool, or change how many Machines it may have."""
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
    machines: int = 0
    shares: list[ProjectWorker] = field(default_factory=list[ProjectWorker])

    @property
    def staying(self) -> list[ProjectWorker]:
        return [share for share in self.shares if share.staying]


class ProjectWorkerManager:
    """Follows the catalog: serves each project that appears, and adapts to a changed number of Machines.

    Running Attempts are not disturbed by that. For more Machines, a share is added. For fewer, shares are retired, and
    a new share takes the Machines of the new number that they leave free while their Attempts come to an end; so there
    are never more Attempts than the larger of the two numbers. (The pool enforces that bound exactly: a retired share
    may be given another Attempt before it has left.)
    """

    def __init__(
        self,
        *,
        client: Client,
        connect: Callable[[], Awaitable[Client]],
        identity: str,
        catalog: Catalog,
        pools: WorkerPools,
        attempt: Callable[[AttemptInput], Awaitable[AttemptOutcome]],
        running_attempts: RunningAttempts,
        drain: timedelta,
        only: Collection[str] = (),
        at_most: int | None = None,
    ) -> None:
        """Set up without serving anything yet.

        Args:
            client: The worker's connection to Temporal.
            connect: Opens another connection like it, for a project that has several shares.
            identity: Name of the worker process in Temporal.
            catalog: The catalog of what is deployed.
            pools: The pools of Machines.
            attempt: Implementation of the activities `attempt`, `check` and `create`.
            running_attempts: The running Attempts, in order to interrupt them.
            drain: How long `stop` lets running Attempts go on.
            only: Projects to serve; empty for all.
            at_most: This worker's share of each project's Machines, where several hosts share it.
        """
        self._clients = [client]
        self._connect = connect
        self._identity = identity
        self._catalog = catalog
        self._pools = pools
        self._attempt = attempt
        self._running_attempts = running_attempts
        self._drain = drain
        self._only = frozenset(only)
        self._at_most = at_most
        self._served: dict[str, _Served] = {}
        self._complaints: dict[str, str] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def follow(self, interval: timedelta) -> None:
        """Refresh repeatedly until cancelled. Raises the error that stops one of the Temporal workers for good."""
        while True:
            await self.refresh()
            await asyncio.wait({self._failure}, timeout=interval.total_seconds())
            if self._failure.done():
                await self._failure

    async def refresh(self) -> None:
        """Follow the catalog once.

        A store that does not answer changes nothing, and a project that cannot be read affects no other.
        """
        try:
            projects = await self._catalog.projects()
        except CallboardError as error:
            self._complain("the projects", error.message)
            return
        self._complain("the projects", None)
        for project in projects:
            if self._only and project not in self._only:
                continue
            complaint = None
            try:
                manifest = await self._catalog.current(project)
                if manifest is not None:
                    machines = manifest.settings.machines
                    await self._serve(project, min(machines, self._at_most or machines))
            except CallboardError as error:
                complaint = error.message
            except RuntimeError as error:  # the SDK raises it if Temporal cannot be reached
                complaint = str(error)
            self._complain(f"project {project}", complaint)

    async def stop(self) -> None:
        """Take no new Attempt, let running ones finish for as long as the drain time allows, then interrupt them."""
        for served in self._served.values():
            for share in served.staying:
                share.retire(hurry=True)
        if self._running:
            await asyncio.wait(self._running, timeout=self._drain.total_seconds())
        while self._running:
            # This is repeated, as Temporal may have handed out an Attempt just before it heard that this worker leaves.
            self._running_attempts.interrupt_all("The worker was stopped before the Attempt ended.")
            await asyncio.wait(self._running, timeout=_INTERRUPT_EVERY)

    async def _serve(self, project: str, machines: int) -> None:
        served = self._served.setdefault(project, _Served())
        if served.machines != machines:
            log.info("serving project %s with %d Machine(s)", project, machines)
            served.machines = machines
        await self._pools.size(project, machines)
        while sum(share.slots for share in served.staying) > machines:
            served.staying[-1].retire()
        free = machines - sum(share.claims for share in served.shares)
        if free > 0:
            await self._add_share(project, served, free)

    async def _add_share(self, project: str, served: _Served, slots: int) -> None:
        used = [share.client for share in served.shares]
        client = next((client for client in self._clients if client not in used), None)
        if client is None:
            client = await self._connect()
            self._clients.append(client)
        share = ProjectWorker(
            project,
            slots,
            client=client,
            identity=self._identity,
            attempt=self._attempt,
        )
        served.shares.append(share)

        async def run() -> None:
            try:
                await share.run()
            finally:
                served.shares.remove(share)

        self._keep(run(), f"serve {project}")

    def _complain(self, about: str, complaint: str | None) -> None:
        """Log a complaint once, not at every refresh."""
        if complaint is None:
            self._complaints.pop(about, None)
        elif self._complaints.get(about) != complaint:
            self._complaints[about] = complaint
            log.warning("%s: nothing new can be served: %s", about, complaint)

    def _keep(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(work, name=name)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
