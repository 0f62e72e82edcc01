"""Serve the projects of this worker process: each has a pool of Machines, and Temporal workers with as many slots."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client

from activities.attempts.running_attempts import RunningAttempts
from activities.workers.problem_log import ProblemLog
from activities.workers.project_worker import MakeWorker, ProjectWorker
from machines.lease import Lease
from machines.pool import MachinePools
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

    @property
    def reserved(self) -> int:
        return sum(worker.reserved_slots for worker in self.workers)


class ProjectWorkerManager:
    """Serves each project with as many Machines as this worker's share of it, and adapts to a changed share.

    Running Attempts are not disturbed by that. For more Machines, a `ProjectWorker` is added. For fewer, workers are
    drained, and a new one takes the Machines of the new number that they leave free while their Attempts come to an
    end; so there are never more Attempts than the larger of the two numbers. (The pool enforces that bound exactly: a
    draining worker may be given another Attempt before it has stopped polling.) A project without a share is not
    polled.
    """

    def __init__(
        self,
        *,
        client: Client,
        connect: Callable[[], Awaitable[Client]],
        make_worker: MakeWorker,
        lease: Lease,
        pools: MachinePools,
        running_attempts: RunningAttempts,
        drain_timeout: timedelta,
    ) -> None:
        self._clients = [client]
        self._connect = connect
        """Opens another connection like the client's, for a project that has several workers."""
        self._make_worker = make_worker
        self._lease = lease
        self._pools = pools
        self._running_attempts = running_attempts
        self._drain_timeout = drain_timeout
        """How long `stop` lets running Attempts go on."""
        self._served: dict[str, _ServedProject] = {}
        self._problems = ProblemLog(log, "nothing new can be served")
        self._tasks: set[asyncio.Task[None]] = set()
        self._failure: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.changed = asyncio.Event()
        """Is set when this worker may hold fewer Machines than before."""
        self.stopping = False
        """Whether the worker takes no Attempt any more, and is about to leave."""

    async def watch(self) -> None:
        """Wait until cancelled. Raises the error that stops one of the Temporal workers for good."""
        await asyncio.shield(self._failure)

    def in_use(self) -> dict[str, int]:
        """Return how many Machines of each project may be used now, by Attempts that run or are on their way."""
        in_use = {project: served.reserved for project, served in self._served.items()}
        for project, pool in self._pools.items():
            in_use[project] = max(pool.bound, in_use.get(project, 0))
        return in_use

    def accepted(self) -> dict[str, int]:
        """Return how many Attempts of each project this worker has accepted and not ended."""
        accepted = {project: sum(w.used_slots for w in served.workers) for project, served in self._served.items()}
        return {project: count for project, count in accepted.items() if count > 0}

    async def serve(self) -> None:
        """Follow the shares once. What follows them already costs next to nothing: most projects are idle."""
        projects = sorted({*self._served, *self._lease.projects})
        await asyncio.gather(*(self._serve(project) for project in projects if not self._follows_share(project)))

    async def interrupt_all(self, message: str) -> None:
        """Interrupt every Attempt, as the lease is over, and serve nothing until there is another one."""
        self._running_attempts.interrupt_all(message)
        await self.serve()

    async def stop(self) -> None:
        """Take no new Attempt, let running ones finish for as long as the drain time allows, then interrupt them."""
        self.stopping = True
        for served in self._served.values():
            for worker in served.accepting:
                worker.drain(hurry=True)
        self.changed.set()
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=self._drain_timeout.total_seconds())
        while self._tasks:
            # This is repeated, as Temporal may have handed out an Attempt just before it heard that this worker leaves.
            self._running_attempts.interrupt_all("The worker was stopped before the Attempt ended.")
            await asyncio.wait(self._tasks, timeout=_INTERRUPT_INTERVAL)

    def _follows_share(self, project: str) -> bool:
        """Tell whether nothing is to be done for the project."""
        share, served = self._share(project), self._served.get(project)
        return (
            served is not None
            and served.machines == share == served.reserved == sum(worker.slots for worker in served.accepting)
            and (pool.size if (pool := self._pools.get(project)) else 0) == min(self._lease.most(project), share)
        )

    async def _serve(self, project: str) -> None:
        problem = None
        try:
            await self._follow_share(project, self._served.setdefault(project, _ServedProject()))
        except (CallboardError, RuntimeError) as error:  # Temporal cannot be reached, or the SDK has another reason
            problem = str(error)
        self._problems.note(f"project {project}", problem)

    async def _follow_share(self, project: str, served: _ServedProject) -> None:
        share = self._share(project)
        if served.machines != share:
            log.info("serving project %s with %d Machine(s)", project, share)
            served.machines = share
        while sum(worker.slots for worker in served.accepting) > share:
            served.accepting[-1].drain()
        await self._pools.resize(project, min(self._lease.most(project), max(share, served.reserved)))
        if served.reserved < self._share(project):
            client = await self._unused_client(served)
            # The share may have become smaller meanwhile.
            free = self._share(project) - served.reserved
            if free > 0:
                self._add_worker(project, served, free, client)

    def _share(self, project: str) -> int:
        return 0 if self.stopping else self._lease.share(project)

    async def _unused_client(self, served: _ServedProject) -> Client:
        used = [worker.client for worker in served.workers]
        client = next((client for client in self._clients if client not in used), None)
        if client is None:
            client = await self._connect()
            self._clients.append(client)
        return client

    def _add_worker(self, project: str, served: _ServedProject, slots: int, client: Client) -> None:
        worker = ProjectWorker(
            project, slots, client=client, make_worker=self._make_worker, on_released=self.changed.set
        )
        served.workers.append(worker)

        async def run() -> None:
            try:
                await worker.run()
            finally:
                served.workers.remove(worker)
                self.changed.set()

        self._start_task(run(), f"serve {project}")

    def _start_task(self, coroutine: Coroutine[Any, Any, None], name: str) -> None:
        task: asyncio.Task[None] = asyncio.create_task(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._on_task_done)

    def _on_task_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) and not self._failure.done():
            self._failure.set_exception(error)
