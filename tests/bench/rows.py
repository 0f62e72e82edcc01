"""The rows of the table: each measures the time of something that can be done repeatedly."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import psutil

from tests.bench.reading import SLOTS

_IDLE = 0.8
"""Idle share of the processors at which the host counts as at rest."""
_LOOK_EVERY = 0.05
_REST_WITHIN = 2.0
"""Most seconds to wait for a host at rest, as a host that others keep busy never is."""


@dataclass
class Row:
    """One way to read the page, and its measurements, with one figure for each round."""

    name: str
    once: Callable[[], Awaitable[object]]
    limit: Row | None = None
    """The bare loop that it is compared with; None for a bare loop itself."""
    per_second: list[float] = field(default_factory=list[float])
    """Reads with `SLOTS` at a time."""
    at_rest: list[float] = field(default_factory=list[float])
    """Median seconds of a read on a host at rest, so that cleaning up after the read before is not counted."""
    in_a_row: list[float] = field(default_factory=list[float])
    """Median seconds of a read that begins as soon as the one before has ended."""

    async def round(self, repetitions: int) -> None:
        """Measure one more round."""
        for _ in range(SLOTS):
            await self.once()  # These warm up again, after the other rows had their turn.
        single = max(3, repetitions // 4)
        at_rest: list[float] = []
        for _ in range(single):
            await _rest()
            at_rest.append(await self._timed())
        self.at_rest.append(statistics.median(at_rest))
        self.in_a_row.append(statistics.median([await self._timed() for _ in range(single)]))
        left = iter(range(repetitions))
        began = time.perf_counter()
        await asyncio.gather(*(self._drain(left) for _ in range(SLOTS)))
        self.per_second.append(repetitions / (time.perf_counter() - began))

    async def _timed(self) -> float:
        began = time.perf_counter()
        await self.once()
        return time.perf_counter() - began

    async def _drain(self, left: Iterator[int]) -> None:
        for _ in left:
            await self.once()


def median_ratio(own: list[float], of_limit: list[float]) -> float:
    """Return the median of the ratios of the rounds: the two figures of a round were measured beside each other."""
    return statistics.median(each / its for each, its in zip(own, of_limit, strict=True))


async def _rest() -> None:
    """Wait until the host is at rest, but no longer than `_REST_WITHIN`."""
    deadline = time.monotonic() + _REST_WITHIN
    while time.monotonic() < deadline:
        before = psutil.cpu_times()
        await asyncio.sleep(_LOOK_EVERY)
        after = psutil.cpu_times()
        if after.idle - before.idle >= _IDLE * (sum(after) - sum(before)):
            return
