"""Run a Temporal worker for a share of a project's Machines: as many Attempts at once as it has slots.

The number of slots of a Temporal worker is fixed. So when the number of a project's Machines changes, workers are
added or drained; a draining worker takes no new Attempt, and lets its running Attempts go on to their end, however long
that takes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from datetime import timedelta
from typing import Any

from temporalio.client import Client
from temporalio.worker import ActivityInboundInterceptor, ExecuteActivityInput, Interceptor, Worker

from temporal.worker_shutdown import SHUTDOWN_MARGIN, log_left_behind

MakeWorker = Callable[[Client, Interceptor, str, int], Worker]
"""Makes the Temporal worker on a connection, with an interceptor of its activities, for the Attempts of a project, as
many at once as the number says. It is `attempts_worker` of `worker.py`."""

_QUIET = 1.0
"""Seconds without a task from a polled queue, after which the queue is taken to be empty."""
_QUIET_IN_A_HURRY = 0.2
_DRAIN_POLLS_WITHIN = 3.0
_SHUTDOWN_HEARD_AFTER = 0.1
"""Seconds after which the SDK has certainly heard that it must not poll any more."""


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
        as `temporal.worker_shutdown` describes.

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
