"""A Temporal worker with a share of a project's Machines: as many Attempts at once as it has slots.

The number of slots of a Temporal worker is fixed. So when the number of a project's Machines changes, shares are added
or retired; a retired share takes no new Attempt, and lets those that it has go on to their end, however long that is.
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
"""Seconds without an answer from a queue that is asked, after which it is taken to be empty."""
_QUIET_IN_A_HURRY = 0.2
_LEAVE_WITHIN = 3.0
_HEARD_AFTER = 0.1
"""Seconds after which the SDK has certainly heard that it is to ask no more."""
_NO_LIMIT = timedelta(days=1)
"""Longer than any Attempt. Who retires a share decides how long its Attempts may go on, and stops them by ticket."""


class ProjectWorker:
    """Made and begun by `ProjectWorkerManager`."""

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
        """Takes no Attempt yet.

        Args:
            project: Whose queue it serves.
            slots: How many Attempts it holds at once.
            client: A connection that no other share of this project uses: Temporal's SDK allows one worker of a
                queue on each.
            identity: The worker process, as Temporal shows it.
            attempt: Activities `attempt`, `check` and `create`.
            shutdown_margin: How long the SDK may take to stop when the last Attempt has ended.
        """
        self.slots = slots
        self.client = client
        self._attempt = attempt
        self._taken = 0
        """Slots that are taken."""
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
        """Whether it goes on taking Attempts."""
        return not self._leaving.is_set()

    @property
    def claims(self) -> int:
        """How many of the project's Machines it may be using."""
        return self._taken if self._left.is_set() else self.slots

    async def run(self) -> None:
        """Take Attempts until it is retired, and return when the last of them has ended.

        When it holds none any more, the SDK has some seconds to stop; a worker that has not is left behind, as
        `engine.worker_shutdown` has it.

        Raises what stops a Temporal worker for good.
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
        """Take no more Attempts, as soon as that is safe (and within seconds); let those that it has go on.

        In a hurry, a process is to end: then it waits less for being sure.
        """
        self._quiet = _QUIET_IN_A_HURRY if hurry else _QUIET
        self._leaving.set()

    async def _leave(self) -> None:
        """Stop asking Temporal for Attempts.

        To break off a question can lose the Attempt that Temporal is just giving as its answer: it would be missed
        only when no heartbeat has come from it for half a minute. With all slots taken no question is open; and while
        none is answered for a moment, nothing is queued. So that no question is opened meanwhile, slots of Attempts
        that end are held until it is over.
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
        """Count the time that the SDK takes to stop, from when nothing is held any more."""
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
                with suppress(asyncio.CancelledError):  # it comes too late: the Attempt has ended
                    await self._left.wait()
            self._taken -= 1
            self._set_deadline()
