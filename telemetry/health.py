"""Whether this process still works: its event loop turns over, and what should go on in it goes on.

A health check of this kind has one use: whoever asks ends the process and starts another one if it fails. So it fails
only if a new process would help. A new process does not help if Temporal or the artifact store is away, or if there is
no work. So each part reports that it goes on while it waits and tries again.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

LOOP_TICK = timedelta(seconds=1)
LOOP_STUCK_AFTER = timedelta(seconds=30)
"""Time without a tick after which the event loop counts as stuck. A busy one ticks late by parts of a second."""


class Pulse:
    """The sign of life of one thing that goes on in rounds. Each round ends with `beat`."""

    def __init__(self, what: str, within: timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin to expect rounds from now on.

        Args:
            what: What goes on, as the subject of a sentence.
            within: How long a round may take at most, also when all that it asks is away.
            clock: Returns seconds.
        """
        self._what = what
        self._within = within.total_seconds()
        self._clock = clock
        self._at = clock()

    def beat(self) -> None:
        """Note that a round, or a step of one, has ended."""
        self._at = self._clock()

    def problem(self) -> str | None:
        """Return what is wrong, in a sentence; None if nothing is."""
        age = self._clock() - self._at
        return None if age <= self._within else f"{self._what} has not come round for {age:.0f} seconds."


class Liveness:
    """All that has to go on in this process. It may be asked from any thread."""

    def __init__(self) -> None:
        self._loop: Pulse | None = None
        self._checks: list[Callable[[], str | None]] = []
        self._is_leaving = False

    def pulse(self, what: str, within: timedelta) -> Pulse:
        """Return a pulse that is watched from now on."""
        pulse = Pulse(what, within)
        self._checks.append(pulse.problem)
        return pulse

    def task(self, what: str, task: asyncio.Task[Any]) -> None:
        """Watch a task that should never end while the process works."""
        self._checks.append(lambda: f"{what} has ended." if task.done() else None)

    def leave(self) -> None:
        """Expect only the event loop to go on: the process is told to end, and its parts end one after the other."""
        self._is_leaving = True

    @asynccontextmanager
    async def ticking(self) -> AsyncGenerator[None]:
        """Expect the event loop to turn over for as long as the block lasts."""
        self._loop = Pulse("The event loop", LOOP_STUCK_AFTER)
        ticks = asyncio.create_task(self._tick(self._loop), name="tick")
        try:
            yield
        finally:
            self._loop = None
            ticks.cancel()
            await asyncio.wait({ticks})

    async def _tick(self, loop: Pulse) -> None:
        while True:
            loop.beat()
            await asyncio.sleep(LOOP_TICK.total_seconds())

    def problem(self) -> str | None:
        """Return what is wrong first, in a sentence; None if everything goes on."""
        loop = self._loop
        if loop is not None and (stuck := loop.problem()) is not None:
            return stuck
        if self._is_leaving:
            return None
        return next((problem for check in list(self._checks) if (problem := check()) is not None), None)
