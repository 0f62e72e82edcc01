"""Room for Machines: how many a worker can have at once, and who gets the next one."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager


class Capacity:
    """The places for Machines of a worker. Without an argument, there are any number.

    Whoever starts a Machine takes a place first, in order of arrival. If all are taken, idle Machines are called in,
    those first that have been idle for longest.
    """

    def __init__(self, places: float = math.inf) -> None:
        self._free = places
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._idle: list[asyncio.Future[None]] = []

    @property
    def has_room(self) -> bool:
        """Whether a place can be taken at once, and without ending an idle Machine."""
        return self._free > 0

    async def take(self) -> None:
        """Take a place, as soon as there is one."""
        if self._free > 0:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        self._call_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._waiting.remove(turn)
            else:  # the place and the cancel came at the same time
                self.give_back()
            raise

    def give_back(self) -> None:
        """Give a place back; whoever has waited for longest gets it."""
        turn = next((turn for turn in self._waiting if not turn.done()), None)
        if turn is None:
            self._free += 1
        else:
            self._waiting.remove(turn)
            turn.set_result(None)

    @contextmanager
    def offered(self) -> Generator[asyncio.Future[None]]:
        """Offer the place of an idle Machine for as long as the block lasts.

        The future is resolved when the place is needed; then the Machine should be ended within the block.
        """
        wanted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(wanted)
        self._call_in()
        try:
            yield wanted
        finally:
            self._idle.remove(wanted)
            self._call_in()

    def _call_in(self) -> None:
        """Call in as many idle Machines as are waited for."""
        called = sum(wanted.done() for wanted in self._idle)
        needed = sum(not turn.done() for turn in self._waiting)
        for wanted in [wanted for wanted in self._idle if not wanted.done()][: max(0, needed - called)]:
            wanted.set_result(None)
