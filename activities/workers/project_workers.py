"""Serve the projects of this worker process: each has a pool of Machines, and Temporal workers with as many slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from activities.attempt import AttemptActivities
from activities.attempts.running_attempts import RunningAttempts
from activities.workers.machine_pools import MachinePools
from activities.workers.project_worker import ProjectWorker
from projects.catalog import Catalog
from schemas.errors import CallboardError

log = logging.getLogger(__name__)

_INTERRUPT_INTERVAL = 1.0


@dataclass
class _ServedProject:
    machines: int = 0
    workers: list[ProjectWorker] = field(default_factory=list[ProjectWorker])

    @property
    def accepting(self) -> list[ProjectWorker]:
        return [worker for worker in self.workers if worker.accepting]


class ProjectWorkerManager:
    """Follows the catalog: serves each project that appears, and adapts to a changed number of Machines.

    Running Attempts are not disturbed by that. For more Machines, a `ProjectWorker` is added. For fewer, workers are
    drained, and a new one takes the Machines of the new number that they leave free while their Attempts come to an
    end; so there are never more Attempts than the larger of the two numbers. (The pool enforces that bound exactly: a
    draining worker may be given another Attempt before it has stopped polling.)
    """

    def __init__(
        self,
        *,
        client: Client,
        connect: Callable[[], Awaitable[Client]],
        identity: str,
        catalog: Catalog,
        pools: MachinePools,
        activities: AttemptActivities,
        running_attempts: RunningAttempts,
        drain_timeout: timedelta,
        only: Collection[str] = (),
        max_machines: int | None = None,
    ) -> None:
        """Set up without serving anything yet.

        Args:
            client: The worker's connection to Temporal.
            connect: Opens another connection like it, for a project that has several workers.
            identity: Name of the worker process in Temporal.
            catalog: The catalog of what is deployed.
            pools: The pools of Machines.
            activities: The activities of Attempts.
            running_attempts: The running Attempts, in order to interrupt them.
            drain_timeout: How long `stop` lets running Attempts go on.
            only: Projects to serve; empty for all.
            max_machines: This worker's share of each project's Machines, where several hosts share it.
        """
        self._clients = [client]
        self._connect = connect
        self._identity = identity
        self._catalog = catalog
        self._pools = pools
        self._activities = activities
        self._running_attempts = running_attempts
        self._drain_timeout = drain_timeout
        self._only = frozenset(only)
        self._max_machines = max_machines
        self._served: dict[str, _ServedProject] = {}
        self._problems: dict[str, str] = {}
        self._tasks: set[asyncio.Task[None]] = set()
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
            projects = await self._catalog.list_projects()
        except CallboardError as error:
            self._log_problem("the projects", error.message)
            return
        self._log_problem("the projects", None)
        for project in projects:
            if self._only and project not in self._only:
                continue
            problem = None
            try:
                manifest = await self._catalog.get_current(project)
                if manifest is not None:
                    machines = manifest.settings.machines
                    await self._serve(project, min(machines, self._max_machines or machines))
            except CallboardError as error:
                problem = error.message
            except RuntimeError as error:  # the SDK raises it if Temporal cannot be reached
                problem = str(error)
            self._log_problem(f"project {project}", problem)

    async def stop(self) -> None:
        """Take no new Attempt, let running ones finish for as long as the drain time allows, then interrupt them."""
        for served in self._served.values():
            for worker in served.accepting:
                worker.drain(hurry=True)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_timeout.total_seconds())
        while self._tasks:
            # This is repeated, as Temporal may have handed out an Attempt just before it heard that this worker leaves.
            self._running_attempts.interrupt_all("The worker was stopped before the Attempt ended.")
            await asyncio.wait(self._tasks, timeout=_INTERRUPT_INTERVAL)

    async def _serve(self, project: str, machines: int) -> None:
        served = self._served.setdefault(project, _ServedProject())
        if served.machines != machines:
            log.info("serving project %s with %d Machine(s)", project, machines)
            served.machines = machines
        await self._pools.resize(project, machines)
        while sum(worker.slots for worker in served.accepting) > machines:
            served.accepting[-1].drain()
        free = machines - sum(worker.reserved_slots for worker in served.workers)
        if free > 0:
            await self._add_worker(project, served, free)

    async def _add_worker(self, project: str, served: _ServedProject, slots: int) -> None:
        used = [worker.client for worker in served.workers]
        client = next((client for client in self._clients if client not in used), None)
        if client is None:
            client = await self._connect()
            self._clients.append(client)
        worker = ProjectWorker(
            project,
            slots,
            client=client,
            identity=self._identity,
            activities=self._activities,
        )
        served.workers.append(worker)

        async def run() -> None:
            try:
                await worker.run()
            finally:
                served.workers.remove(worker)

        self._start_task(run(), f"serve {project}")

    def _log_problem(self, about: str, problem: str | None) -> None:
        """Log a problem once, not at every refresh."""
        if problem is None:
            self._problems.pop(about, None)
        elif self._problems.get(about) != problem:
            self._problems[about] = problem
            log.warning("%s: nothing new can be served: %s", about, problem)

    def _start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
