"""Watch whether the Temporal workers of this process still poll their task queues.

A worker of the SDK that fails ends its process. But one may also be told to stop by somebody else's mistake, or may
hang within the SDK; then the process stands there and does nothing. The first is seen here at once. The second is seen
by Temporal: it remembers when each worker has polled each task queue last, and is asked for one queue after the other.

Only what Temporal has answered counts. While it cannot be reached, nothing is known of polls, and they get their whole
time again once it can. A queue is judged only after Temporal has shown a poll of this process on it: a server that does
not remember polls is no reason to end a worker. Nor is one that divides task queues into partitions: it tells of the
polls of one partition only, and a worker may poll others for minutes.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol, cast

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client
from temporalio.service import RPCError
from temporalio.worker import Worker

from schemas.errors import CallboardError
from temporal.partitions import count_partitions
from temporal.pollers import fetch_pollers

log = logging.getLogger(__name__)

QUIET_AFTER = timedelta(minutes=4)
"""How long Temporal must tell that there was no poll until a worker counts as hung. A poll lasts a minute when there is
no work."""
_ROUND_INTERVAL = timedelta(seconds=30)
_REQUEST_INTERVAL = timedelta(seconds=1)
"""Least time between two requests. A worker may serve a thousand projects."""
_ACTIVITY = TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY
_UNREACHABLE = (RPCError, RuntimeError)
"""What the SDK raises if Temporal does not answer."""


@dataclass
class _Polls:
    """What Temporal has told of the polls of one worker for one kind of tasks."""

    last: datetime
    """When the last one was made, by Temporal's clock; it is compared with nothing else."""
    quiet_since: float | None = None
    """When Temporal has told for the first time that there was none since, by this host's monotonic clock."""
    quiet: float = 0.0
    """Seconds from then to when it has told so last."""


@dataclass(eq=False)
class _Watched:
    worker: Worker
    types: tuple[TaskQueueType.ValueType, ...]
    may_pause: Callable[[], bool]
    polls: dict[TaskQueueType.ValueType, _Polls] = field(default_factory=dict[TaskQueueType.ValueType, _Polls])


class Watch(Protocol):
    """Expects a worker to poll for as long as a block lasts, as `PollWatch.watching` does."""

    def __call__(self, worker: Worker, *, may_pause: Callable[[], bool] = ...) -> AbstractContextManager[None]:
        """Return the context manager of the block."""
        ...


def unwatched(worker: Worker, *, may_pause: Callable[[], bool] = lambda: False) -> AbstractContextManager[None]:  # noqa: ARG001
    """Expect nothing."""
    return nullcontext()


class PollWatch:
    """The Temporal workers of this process that should poll."""

    def __init__(self, client: Client, identity: str, *, quiet_after: timedelta = QUIET_AFTER) -> None:
        self._client = client
        self._identity = identity
        self._quiet_after = quiet_after
        self._watched: list[_Watched] = []

    @property
    def workers(self) -> list[Worker]:
        """The workers that are expected to poll now."""
        return [watched.worker for watched in self._watched]

    @contextmanager
    def watching(self, worker: Worker, *, may_pause: Callable[[], bool] = lambda: False) -> Generator[None]:
        """Expect this worker to poll, for as long as the block lasts.

        Args:
            worker: A worker, which may not be running yet.
            may_pause: Tells whether it has a reason not to poll for activities, such as that all its slots are taken.
        """
        config = cast("Mapping[str, object]", worker.config())  # the SDK types it only in part
        types = (
            *((TaskQueueType.TASK_QUEUE_TYPE_WORKFLOW,) if config.get("workflows") else ()),
            *((TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY,) if config.get("activities") else ()),
        )
        watched = _Watched(worker, types, may_pause)
        self._watched.append(watched)
        try:
            yield
        finally:
            self._watched.remove(watched)

    def problem(self) -> str | None:
        """Return what is wrong, in a sentence; None if nothing is."""
        for watched in list(self._watched):
            queue = watched.worker.task_queue
            if watched.worker.is_shutdown and not watched.may_pause():
                return f"The Temporal worker of task queue {queue} has ended."
            quiet = max((polls.quiet for polls in list(watched.polls.values())), default=0.0)
            if quiet > self._quiet_after.total_seconds():
                return f"The Temporal worker of task queue {queue} has not polled for {quiet:.0f} seconds."
        return None

    async def follow(self, on_round: Callable[[], None]) -> None:
        """Ask Temporal for the polls of each worker, round after round, until cancelled."""
        loop = asyncio.get_running_loop()
        while True:
            next_round = loop.time() + _ROUND_INTERVAL.total_seconds()
            for watched in list(self._watched):
                for queue_type in watched.types:
                    await self._look(watched, queue_type)
                    on_round()
                    await asyncio.sleep(_REQUEST_INTERVAL.total_seconds())
            on_round()
            await asyncio.sleep(max(0.0, next_round - loop.time()))

    async def _look(self, watched: _Watched, queue_type: TaskQueueType.ValueType) -> None:
        try:
            pollers = await fetch_pollers(self._client, watched.worker.task_queue, queue_type)
        except _UNREACHABLE as error:
            log.debug("Temporal does not tell who polls: %s", error)
            self._forgive()
            return
        ours = [
            poller.last_access_time.ToDatetime(tzinfo=UTC) for poller in pollers if poller.identity == self._identity
        ]
        known = watched.polls.get(queue_type)
        if queue_type is _ACTIVITY and watched.may_pause():
            watched.polls.pop(queue_type, None)
        elif known is None or (ours and max(ours) != known.last):
            if ours:
                watched.polls[queue_type] = _Polls(max(ours))
        elif not await self._is_undivided(watched.worker.task_queue):
            watched.polls.pop(queue_type, None)
        else:
            now = time.monotonic()
            since = now if known.quiet_since is None else known.quiet_since
            watched.polls[queue_type] = _Polls(known.last, since, now - since)

    async def _is_undivided(self, task_queue: str) -> bool:
        """Tell whether the queue is known to have one partition: Temporal tells of polls of the first one only."""
        try:
            return await count_partitions(self._client, task_queue) == 1
        except CallboardError as error:
            log.debug("Temporal does not tell of partitions: %s", error.message)
            return False

    def _forgive(self) -> None:
        """Give all workers their whole time again, since Temporal does not answer."""
        for watched in self._watched:
            watched.polls = {queue_type: _Polls(polls.last) for queue_type, polls in watched.polls.items()}
