"""Serve the projects of this worker process: each has a pool of Machines, and Temporal workers with as many slots.

The number of slots of a Temporal worker is fixed. So when the number of a project's Machines changes, workers are
added or drained; a draining worker takes no new Attempt, and lets its running Attempts go on to their end, however long
that takes.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from activities.attempts.running_attempts import RunningAttempts
from activities.workers.problem_log import ProblemLog
from callboard.machines.lease import Lease
from callboard.machines.pool import MachinePools
from callboard.schemas.errors import CallboardError
from callboard.temporal.worker_shutdown import SHUTDOWN_MARGIN, log_left_behind

log = logging.getLogger(__name__)

MakeWorker = Callable[[Client, Interceptor, str, int], Worker]
"""Makes the Temporal worker on a connection, with an interceptor of its activities, for the Attempts of a project, as
many at once as the number says. It is `attempts_worker` of `worker.py`."""

_QUIET = 1.0
"""Seconds without a task from a polled queue, after which the queue is taken to be empty."""
_QUIET_IN_A_HURRY = 0.2
_DRAIN_POLLS_WITHIN = 3.0
_SHUTDOWN_HEARD_AFTER = 0.1
"""Seconds after which the SDK has certainly heard that it must not poll any more."""
_INTERRUPT_INTERVAL = 1.0


class ProjectWorker:
    """A Temporal worker with a share of a project's Machines, created and started by `ProjectWorkerManager`."""

    def __init__(
        self,
        project: str,
        slots: int,
        *,
        client: Client,
        make_worker: MakeWorker,
        on_released: Callable[[], None] = lambda: None,
        shutdown_margin: timedelta = SHUTDOWN_MARGIN,
    ) -> None:
        """Create the worker without taking an Attempt yet.

        Args:
            project: The project whose task queue the worker serves.
            slots: How many Attempts the worker executes at once.
            client: A connection that no other worker of this project uses: Temporal's SDK allows only one worker of a
                task queue on each.
            make_worker: Makes the Temporal worker.
            on_released: Is called whenever `reserved_slots` has become smaller.
            shutdown_margin: How long the SDK may take to stop when the last Attempt has ended.
        """
        self.slots = slots
        self.client = client
        self._on_released = on_released
        self.used_slots = 0
        """How many Attempts the worker has accepted and not ended."""
        self._slot_taken = asyncio.Event()
        self._quiet_time = _QUIET
        self._draining = asyncio.Event()
        self._stopped_polling = asyncio.Event()
        self._margin = shutdown_margin
        self._deadline = asyncio.timeout(None)
        self._worker = make_worker(client, _SlotInterceptor(self._reserved_slot), project, slots)

    @property
    def accepting(self) -> bool:
        """Whether the worker goes on taking Attempts."""
        return not self._draining.is_set()

    @property
    def reserved_slots(self) -> int:
        """How many of the project's Machines this worker may be using."""
        return self.used_slots if self._stopped_polling.is_set() else self.slots

    async def run(self) -> None:
        """Take Attempts until the worker is told to drain, and return when the last of them has ended.

        Once no Attempt is left, the SDK has some seconds to stop; a worker that has not stopped by then is left behind,
        as `callboard.temporal.worker_shutdown` describes.

        Raises the error that stops a Temporal worker for good.
        """
        stop_polling = asyncio.create_task(self._stop_polling_when_draining(), name="stop polling when draining")
        try:
            async with self._deadline:
                await self._worker.run()
        except TimeoutError:
            if not self._deadline.expired():
                raise
        finally:
            self._stopped_polling.set()
            stop_polling.cancel()
            await asyncio.wait({stop_polling})
        if self._deadline.expired():
            log_left_behind(self._worker, self._margin)

    def drain(self, *, hurry: bool = False) -> None:
        """Take no more Attempts, as soon as that is safe (and within seconds); let the running ones go on.

        With `hurry`, the process is to end: the worker waits for a shorter time to be sure that no task is in flight.
        """
        self._quiet_time = _QUIET_IN_A_HURRY if hurry else _QUIET
        self._draining.set()

    async def _stop_polling_when_draining(self) -> None:
        """Stop polling Temporal for Attempts.

        Cancelling a poll can lose an Attempt that Temporal is just handing out: it would be missed only when no
        heartbeat has come from it for half a minute. With all slots taken no poll is open; and while no poll returns a
        task for a moment, nothing is queued. So that no poll is opened meanwhile, slots of Attempts that end are held
        until polling has stopped.
        """
        await self._draining.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_POLLS_WITHIN):
                while self.used_slots < self.slots and await self._slot_taken_within(self._quiet_time):
                    pass
        shutdown = asyncio.create_task(self._worker.shutdown())
        await asyncio.sleep(_SHUTDOWN_HEARD_AFTER)
        self._stopped_polling.set()
        self._set_deadline()
        self._on_released()
        await shutdown

    def _set_deadline(self) -> None:
        """Start the time limit for the SDK to stop as soon as no Attempt runs any more; lift it otherwise."""
        if not self._deadline.expired():
            now = asyncio.get_running_loop().time()
            stops = self._stopped_polling.is_set() and self.used_slots == 0
            self._deadline.reschedule(now + self._margin.total_seconds() if stops else None)

    async def _slot_taken_within(self, seconds: float) -> bool:
        self._slot_taken.clear()
        try:
            async with asyncio.timeout(seconds):
                return await self._slot_taken.wait()
        except TimeoutError:
            return False

    @asynccontextmanager
    async def _reserved_slot(self) -> AsyncGenerator[None]:
        self.used_slots += 1
        self._slot_taken.set()
        self._set_deadline()
        try:
            yield
        finally:
            while self._draining.is_set() and not self._stopped_polling.is_set():
                with suppress(asyncio.CancelledError):  # a cancel comes too late: the Attempt has ended
                    await self._stopped_polling.wait()
            self.used_slots -= 1
            self._set_deadline()
            if self._draining.is_set():
                self._on_released()


class _SlotInterceptor(Interceptor):
    """Reserves one of the worker's slots for each activity, for as long as the activity is executed."""

    def __init__(self, reserved_slot: Callable[[], AbstractAsyncContextManager[None]]) -> None:
        self._reserved_slot = reserved_slot

    def intercept_activity(self, next: ActivityInboundInterceptor) -> ActivityInboundInterceptor:
        return _SlotInboundInterceptor(next, self._reserved_slot)


class _SlotInboundInterceptor(ActivityInboundInterceptor):
    """The part of `_SlotInterceptor` that the SDK creates for each execution of an activity."""

    def __init__(
        self, next: ActivityInboundInterceptor, reserved_slot: Callable[[], AbstractAsyncContextManager[None]]
    ) -> None:
        super().__init__(next)
        self._reserved_slot = reserved_slot

    async def execute_activity(self, input: ExecuteActivityInput) -> Any:
        async with self._reserved_slot():
            return await super().execute_activity(input)


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

    def busy(self) -> dict[str, int]:
        """Return how many Machines of each project execute an Attempt."""
        return {project: pool.busy for project, pool in self._pools.items() if pool.busy}

    def warm(self) -> dict[str, int]:
        """Return how many Machines of each project are up without an Attempt."""
        return {project: pool.warm for project, pool in self._pools.items() if pool.warm}

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
