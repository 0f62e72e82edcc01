"""Run a Temporal worker for a share of a project's Machines: as many Attempts at once as it has slots.

The number of slots of a Temporal worker is fixed. So when the number of a project's Machines changes, shares are added
or retired; a retired share takes no new Attempt, and lets its running Attempts go on to their end, however long that
takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from schemas.workflow import names
from schemas.workflow.attempt import AttemptInput, AttemptOutcome
from temporal.worker_shutdown import SHUTDOWN_MARGIN, log_left_behind

HEARTBEAT_THROTTLE = timedelta(seconds=5)
_MOST_POLLERS = 5
_QUIET = 1.0
"""Seconds without a task from a polled queue, after which the queue is taken to be empty."""
_QUIET_IN_A_HURRY = 0.2
_LEAVE_WITHIN = 3.0
_HEARD_AFTER = 0.1
"""Seconds after which the SDK has certainly heard that it must not poll any more."""
_NO_LIMIT = timedelta(days=1)
"""A time longer than any Attempt. Whoever retires a share decides how long its Attempts may go on, and stops them
through `RunningAttempts`."""


class ProjectWorker:
    """A Temporal worker with a share of a project's Machines, created and started by `ProjectWorkerManager`."""

    def __init__(
        self,
        project: str,
        slots: int,
        *,
        client: Client,
        identity: str,
        attempt: Callable[[AttemptInput], Awaitable[AttemptOutcome]],
        shutdown_margin: timedelta = SHUTDOWN_MARGIN,
    ) -> None:
        """Create the worker without taking an Attempt yet.

        Args:
            project: The project whose task queue the worker serves.
            slots: How many Attempts the worker executes at once.
            client: A connection that no other share of this project uses: Temporal's SDK allows only one worker of a
                task queue on each.
            identity: Name of the worker process in Temporal.
            attempt: Implementation of the activities `attempt`, `check` and `create`.
            shutdown_margin: How long the SDK may take to stop when the last Attempt has ended.
        """
        self.slots = slots
        self.client = client
        self._attempt = attempt
        self._taken = 0
        """Number of slots that are taken."""
        self._takes = asyncio.Event()
        self._quiet = _QUIET
        self._leaving = asyncio.Event()
        self._left = asyncio.Event()
        self._margin = shutdown_margin
        self._deadline = asyncio.timeout(None)
        self._worker = Worker(
            client,
            task_queue=names.project_queue(project),
            activities=[self._attempt_api, self._attempt_check, self._attempt_create],
            identity=identity,
            max_concurrent_activities=slots,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(min(slots, _MOST_POLLERS)),
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=_NO_LIMIT,
        )

    @property
    def staying(self) -> bool:
        """Whether the worker goes on taking Attempts."""
        return not self._leaving.is_set()

    @property
    def claims(self) -> int:
        """How many of the project's Machines this worker may be using."""
        return self._taken if self._left.is_set() else self.slots

    async def run(self) -> None:
        """Take Attempts until the worker is retired, and return when the last of them has ended.

        Once no Attempt is left, the SDK has some seconds to stop; a worker that has not stopped by then is left behind,
        as `temporal.worker_shutdown` describes.

        Raises the error that stops a Temporal worker for good.
        """
        leave = asyncio.create_task(self._leave(), name="leave when retired")
        try:
            async with self._deadline:
                await self._worker.run()
        except TimeoutError:
            if not self._deadline.expired():
                raise
        finally:
            self._left.set()
            leave.cancel()
            await asyncio.wait({leave})
        if self._deadline.expired():
            log_left_behind(self._worker, self._margin)

    def retire(self, *, hurry: bool = False) -> None:
        """Take no more Attempts, as soon as that is safe (and within seconds); let the running ones go on.

        With `hurry`, the process is to end: the worker waits for a shorter time to be sure that no task is in flight.
        """
        self._quiet = _QUIET_IN_A_HURRY if hurry else _QUIET
        self._leaving.set()

    async def _leave(self) -> None:
        """Stop polling Temporal for Attempts.

        Cancelling a poll can lose an Attempt that Temporal is just handing out: it would be missed only when no
        heartbeat has come from it for half a minute. With all slots taken no poll is open; and while no poll returns a
        task for a moment, nothing is queued. So that no poll is opened meanwhile, slots of Attempts that end are held
        until polling has stopped.
        """
        await self._leaving.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LEAVE_WITHIN):
                while self._taken < self.slots and await self._takes_one_within(self._quiet):
                    pass
        shutdown = asyncio.create_task(self._worker.shutdown())
        await asyncio.sleep(_HEARD_AFTER)
        self._left.set()
        self._set_deadline()
        await shutdown

    def _set_deadline(self) -> None:
        """Start the time limit for the SDK to stop as soon as no Attempt is held any more; lift it otherwise."""
        if not self._deadline.expired():
            now = asyncio.get_running_loop().time()
            stops = self._left.is_set() and self._taken == 0
            self._deadline.reschedule(now + self._margin.total_seconds() if stops else None)

    async def _takes_one_within(self, seconds: float) -> bool:
        self._takes.clear()
        try:
            async with asyncio.timeout(seconds):
                return await self._takes.wait()
        except TimeoutError:
            return False

    @activity.defn(name=names.ATTEMPT)
    async def _attempt_api(self, order: AttemptInput) -> AttemptOutcome:
        async with self._taken_slot():
            return await self._attempt(order)

    @activity.defn(name=names.CHECK)
    async def _attempt_check(self, order: AttemptInput) -> AttemptOutcome:
        async with self._taken_slot():
            return await self._attempt(order)

    @activity.defn(name=names.CREATE_LOGIN)
    async def _attempt_create(self, order: AttemptInput) -> AttemptOutcome:
        async with self._taken_slot():
            return await self._attempt(order)

    @asynccontextmanager
    async def _taken_slot(self) -> AsyncGenerator[None]:
        self._taken += 1
        self._takes.set()
        self._set_deadline()
        try:
            yield
        finally:
            while self._leaving.is_set() and not self._left.is_set():
                with suppress(asyncio.CancelledError):  # a cancel comes too late: the Attempt has ended
                    await self._left.wait()
            self._taken -= 1
            self._set_deadline()
