"""A Temporal worker with a share of a project's Machines: as many Attempts at once as it has slots.

The number of slots of a Temporal worker is fixed. So when the number of a project's Machines changes, shares are added
or retired; a retired share takes no new Attempt, and lets those that it has go on to their end, however long that is.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from datetime import timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client
from temporalio.worker import PollerBehaviorSimpleMaximum, Worker

from contract.flow import names
from contract.flow.attempt import AttemptInput, AttemptOutcome

HEARTBEAT_THROTTLE = timedelta(seconds=5)
_MOST_POLLERS = 5
_NO_LIMIT = timedelta(days=1)
"""Longer than any Attempt. Who retires a share decides how long its Attempts may go on, and stops them by ticket."""


class Share:
    """Made and begun by `Serving`."""

    def __init__(
        self,
        project: str,
        slots: int,
        *,
        client: Client,
        identity: str,
        attempt: Callable[[AttemptInput], Awaitable[AttemptOutcome]],
    ) -> None:
        """Takes no Attempt yet.

        Args:
            project: Whose queue it serves.
            slots: How many Attempts it holds at once.
            client: A connection that no other share of this project uses: Temporal's SDK allows one worker of a
                queue on each.
            identity: The worker process, as Temporal shows it.
            attempt: Activity `attempt`.
        """
        self.slots = slots
        self.client = client
        self.retired = False
        self._busy = 0
        self._attempt = attempt
        self._worker = Worker(
            client,
            task_queue=names.project_queue(project),
            activities=[self._take],
            identity=identity,
            max_concurrent_activities=slots,
            activity_task_poller_behavior=PollerBehaviorSimpleMaximum(min(slots, _MOST_POLLERS)),
            max_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            default_heartbeat_throttle_interval=HEARTBEAT_THROTTLE,
            graceful_shutdown_timeout=_NO_LIMIT,
        )

    @property
    def claims(self) -> int:
        """How many of the project's Machines it may be using."""
        return self._busy if self.retired else self.slots

    async def run(self) -> None:
        """Take Attempts until it is retired, and return when the last of them has ended.

        Raises what stops a Temporal worker for good.
        """
        await self._worker.run()

    def retire(self) -> Coroutine[Any, Any, None]:
        """From now on it counts as retired. To be awaited: takes no new Attempt, and waits for those that it has."""
        self.retired = True
        return self._worker.shutdown()

    @activity.defn(name=names.ATTEMPT)
    async def _take(self, order: AttemptInput) -> AttemptOutcome:
        self._busy += 1
        try:
            return await self._attempt(order)
        finally:
            self._busy -= 1
