"""Room for Machines: how many a host can have at once, and who gets the next one."""

from __future__ import annotations

import asyncio
import math
import os
from collections import deque
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

_MEMORY_OF_MACHINE = 500_000_000
"""Bytes of memory that a busy Machine takes, as docs/sizing.md tells operators to plan."""
_MEMORY_OF_HOST = 1_000_000_000
"""Bytes of memory that are left to the worker and the rest of its host."""
_MACHINES_PER_CORE = 8
"""Most Machines for each core. Browsers wait for sites most of the time."""
_CGROUP = Path("/sys/fs/cgroup")


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
        """Give a place back; the caller that has waited for longest gets it."""
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


def host_capacity(cgroup: Path = _CGROUP) -> int:
    """Return how many Machines this host has memory and cores for; the limits of a container count. At least 1."""
    by_memory = (_memory(cgroup) - _MEMORY_OF_HOST) // _MEMORY_OF_MACHINE
    return max(1, min(by_memory, math.floor(_cores(cgroup) * _MACHINES_PER_CORE)))


def _memory(cgroup: Path) -> int:
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    with suppress(OSError, ValueError):  # there is no such limit, or it says "max"
        memory = min(memory, int((cgroup / "memory.max").read_text()))
    return memory


def _cores(cgroup: Path) -> float:
    cores: float = len(os.sched_getaffinity(0))
    with suppress(OSError, ValueError):
        quota, period = (cgroup / "cpu.max").read_text().split()
        cores = min(cores, int(quota) / int(period))
    return cores
