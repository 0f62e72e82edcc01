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
    """One way to read the page, and its measurements."""

    name: str
    once: Callable[[], Awaitable[object]]
    share: float = 1.0
    """Share of the usual number of repetitions; slow rows do fewer."""
    throughput: list[float] = field(default_factory=list[float])
    """Reads per second with `SLOTS` at a time, one figure for each round."""
    latency: list[float] = field(default_factory=list[float])
    """Seconds of single reads on a host at rest, so that cleaning up after the read before is not counted."""
    in_a_row: list[float] = field(default_factory=list[float])
    """Seconds of single reads, each begun as soon as the one before has ended."""

    async def round(self, repetitions: int) -> None:
        """Measure one more round."""
        many = max(SLOTS, round(repetitions * self.share))
        for _ in range(SLOTS):
            await self.once()  # These warm up again, after the other rows had their turn.
        for _ in range(max(3, many // 4)):
            await _rest()
            self.latency.append(await self._timed())
        self.in_a_row += [await self._timed() for _ in range(max(3, many // 4))]
        left = iter(range(many))
        began = time.perf_counter()
        await asyncio.gather(*(self._drain(left) for _ in range(SLOTS)))
        self.throughput.append(many / (time.perf_counter() - began))

    @property
    def per_second(self) -> float:
        """Median throughput of the rounds, in reads per second."""
        return statistics.median(self.throughput)

    @property
    def p50(self) -> float:
        """Median latency on a host at rest, in milliseconds."""
        return statistics.median(self.latency) * 1000

    @property
    def p50_in_a_row(self) -> float:
        """Median latency where one read follows the other, in milliseconds."""
        return statistics.median(self.in_a_row) * 1000

    async def _timed(self) -> float:
        began = time.perf_counter()
        await self.once()
        return time.perf_counter() - began

    async def _drain(self, left: Iterator[int]) -> None:
        for _ in left:
            await self.once()


async def _rest() -> None:
    """Wait until the host is at rest, but no longer than `_REST_WITHIN`."""
    deadline = time.monotonic() + _REST_WITHIN
    while time.monotonic() < deadline:
        before = psutil.cpu_times()
        await asyncio.sleep(_LOOK_EVERY)
        after = psutil.cpu_times()
        if after.idle - before.idle >= _IDLE * (sum(after) - sum(before)):
            return
