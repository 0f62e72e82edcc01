"""What all stages have: a real workflow on a real Temporal server, whose activities play a script.

A stage has what one workflow needs. A shape is a course that workflows take on a stage: the tests play it, and its
histories are recorded. `tests/support/shapes.py` has all of them.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum, auto
from typing import Any, Self

from google.protobuf.duration_pb2 import Duration
from temporalio.api.testservice.v1 import LockTimeSkippingRequest, SleepRequest, UnlockTimeSkippingRequest
from temporalio.client import Client, WorkflowHandle, WorkflowHistory
from temporalio.worker import Worker

from callboard.schemas.workflow import names

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
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exception: object) -> None:
        await self._stack.aclose()

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        """The workflow."""
        raise NotImplementedError

    async def work(self, queue: str, activities: Sequence[Callable[..., Any]] = (), **options: Any) -> Worker:
        """Serve a queue until the stage ends."""
        return await self._stack.enter_async_context(staged_worker(self.client, queue, activities, **options))

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
