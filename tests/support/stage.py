"""What all stages have: a real workflow on a real Temporal server, whose activities play a script.

A stage has what one workflow needs. A shape is a course that workflows take on a stage: the tests play it, and its
histories are recorded. `tests/support/shapes.py` has all of them.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Self

from google.protobuf.duration_pb2 import Duration
from temporalio import activity
from temporalio.api.enums.v1 import EventType
from temporalio.api.history.v1 import HistoryEvent
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, SleepRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.service import RPCError, RPCStatusCode
from temporalio.worker import Worker

from callboard.schemas.workflow import names
from tests.support.polling import until

IDENTITY = "recorder"
"""Of every client and worker here: histories hold it, and it must not be a host's name."""


WORKSPACE = "00000000-0000-0000-0000-000000000000"
DEADLINE = 60.0
"""Seconds of real time within which anything that a test waits for must have happened."""

_LONGEST = 50
"""Characters of a name."""


def name_of(test: str) -> str:
    """A name for a project that is this test's alone, short enough for the ids of its Runs."""
    name = re.sub(r"[^a-z0-9]+", "-", test.removeprefix("test_").lower()).strip("-")
    digest = hashlib.sha256(name.encode()).hexdigest()[:6]
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 7].strip('-')}-{digest}"


def staged_worker(client: Client, queue: str, activities: Sequence[Callable[..., Any]] = (), **options: Any) -> Worker:
    """A worker whose name says nothing of this host, and that passes heartbeats on at once."""
    throttle = timedelta(milliseconds=20)
    return Worker(
        client,
        task_queue=queue,
        activities=activities,
        identity=IDENTITY,
        max_heartbeat_throttle_interval=throttle,
        default_heartbeat_throttle_interval=throttle,
        **options,
    )


class Held[Result]:
    """An activity that lasts until it is told how to end.

    Args:
        result: What it returns if it is told no other result, or is canceled.
        beats: It heartbeats, and so hears of its cancellation.
        ends_by_cancel: It ends as soon as it hears of that; else it goes on.
    """

    def __init__(self, result: Result, *, beats: bool = True, ends_by_cancel: bool = True) -> None:
        self.result = result
        self._beats = beats
        self._ends_by_cancel = ends_by_cancel
        self.began = asyncio.Event()
        self.cancelled = False
        self.token = b""
        self._end: asyncio.Future[Result] = asyncio.get_running_loop().create_future()

    async def hold(self) -> Result:
        """Be the activity."""
        self.token = activity.info().task_token
        self.began.set()
        while not self._end.done():
            if self._beats:
                activity.heartbeat()
            try:
                await asyncio.wait({self._end}, timeout=0.02)
            except asyncio.CancelledError:
                self.cancelled = True
                if self._ends_by_cancel:
                    return self.result
        return self._end.result()

    def end(self, result: Result | None = None) -> None:
        if not self._end.done():
            self._end.set_result(self.result if result is None else result)


class Stage:
    """One workflow, its workers, and what it asked of them."""

    def __init__(self, client: Client, name: str, *, queue: str | None = None) -> None:
        """Nothing is started yet.

        Args:
            client: Of a server with our search attributes.
            name: Unique on that server.
            queue: Of the workflow; one of its own if absent.
        """
        self.client = client
        self.name = name
        self.queue = queue or f"{names.CALLBOARD_QUEUE}-{name}"
        self.recorded: WorkflowHandle[Any, Any] | None = None
        """The workflow whose history is recorded, if it is another one than `handle`."""
        self.workflow_options: dict[str, Any] = {"max_cached_workflows": 0, "max_concurrent_workflow_tasks": 1}
        """Of workers of workflows. Nothing is cached: each workflow task replays all that was before. One comes after
        the other: for the next one, the SDK would evict a workflow whose local activity still runs, and its task be
        lost until it times out after ten seconds."""
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The workflow."""
        raise NotImplementedError

    async def work(
        self,
        queue: str,
        activities: Sequence[Callable[..., Any]] = (),
        workflows: Sequence[type] = (),
        **options: Any,
    ) -> Worker:
        """Serve a queue until the stage ends."""
        options |= self.workflow_options if workflows else {}
        worker = staged_worker(self.client, queue, activities, workflows=workflows, **options)
        return await self._stack.enter_async_context(worker)

    async def events(self, of: str | None = None) -> list[HistoryEvent]:
        """Of the stage's workflow, or of this one; none if it is not there yet."""
        handle = self.client.get_workflow_handle(of or self.handle.id)
        try:
            return [event async for event in handle.fetch_history_events()]
        except RPCError as error:
            if error.status is not RPCStatusCode.NOT_FOUND:
                raise
            return []

    async def until(self, name: str, count: int = 1, *, of: str | None = None) -> None:
        """Wait until the history has `count` events of this type (`ACTIVITY_TASK_STARTED`)."""
        wanted = EventType.Value(f"EVENT_TYPE_{name}")
        await until(
            lambda: self.events(of),
            DEADLINE,
            true=lambda events: sum(event.event_type == wanted for event in events) >= count,
        )

    async def pass_time(self, *, held: bool = False, **duration: float) -> None:
        """Let the clock of a server that skips time go forward, and wait for activities that run meanwhile.

        Args:
            held: One activity is on its way and stays so: do not wait for that. The server holds its clock for each
                activity, from when it is scheduled until it ends. Its count must be as it was afterwards, however the
                activity has fared: else time runs on by itself, or never again.
            duration: As for `timedelta`.
        """
        clock, asked = self.client.test_service, Duration()
        asked.FromTimedelta(timedelta(**duration))
        if held:
            await clock.unlock_time_skipping(UnlockTimeSkippingRequest())
        await clock.unlock_time_skipping_with_sleep(SleepRequest(duration=asked))
        if held:
            await clock.lock_time_skipping(LockTimeSkippingRequest())

    async def histories(self) -> list[tuple[str, WorkflowHistory]]:
        """What can be recorded: each with what its name has after that of the shape."""
        return [("", await (self.recorded or self.handle).fetch_history())]


class Server(Enum):
    """What a shape is played on."""

    DEV = auto()
    """The server of `callboard dev`."""
    SKIPPING = auto()
    """A server whose clock goes on by itself while somebody waits for a result."""
    OWN_SKIPPING = auto()
    """A server that has no other shape, and whose clock goes on when the shape says so."""


@dataclass(frozen=True)
class Shape:
    """How to bring it about, to its end."""

    stage: type[Stage]
    play: Callable[[Any], Awaitable[None]]
    recorded: tuple[str, ...]
    """The histories that are new in it: what each name has after that of the shape."""
    server: Server


SHAPES: dict[str, Shape] = {}
"""Those of the modules that are imported; `tests/support/shapes.py` imports all."""


def keep[S: Stage](
    name: str,
    stage: type[S],
    play: Callable[[S], Awaitable[None]],
    *,
    recorded: tuple[str, ...] = ("",),
    server: Server = Server.DEV,
) -> None:
    """Keep a shape by its name, of which there may be no other one."""
    assert name not in SHAPES
    SHAPES[name] = Shape(stage, play, recorded, server)


def name_of_shape(play: Callable[[Any], Awaitable[None]]) -> str:
    """The name of the shape that a function plays."""
    return play.__name__.replace("_", "-")


def shape[S: Stage](
    stage: type[S], *recorded: str, server: Server = Server.DEV
) -> Callable[[Callable[[S], Awaitable[None]]], Callable[[S], Awaitable[None]]]:
    """Keep a shape by the name of the function that plays it."""

    def keep_it(play: Callable[[S], Awaitable[None]]) -> Callable[[S], Awaitable[None]]:
        keep(name_of_shape(play), stage, play, recorded=recorded or ("",), server=server)
        return play

    return keep_it
