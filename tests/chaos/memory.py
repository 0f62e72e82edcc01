"""The memory of the processes of Callboard, measured again and again."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import defaultdict
from contextlib import suppress

import psutil

from tests.chaos.installation import Installation
from tests.chaos.record import Growth

_EVERY = 5
"""Seconds between two measurements."""
_WARM = 60
"""Seconds within which a process loads its code and fills its caches."""
_COMPARED = 5
"""How many measurements are taken together."""


class Memory:
    """Measurements of each process, which is one life of a part."""

    def __init__(self, installation: Installation) -> None:
        self._installation = installation
        self._measured: defaultdict[tuple[str, int], list[tuple[float, float]]] = defaultdict(list)

    async def keep_measuring(self) -> None:
        """Measure until this is cancelled."""
        while True:
            await asyncio.to_thread(self._measure)
            await asyncio.sleep(_EVERY)

    def growth(self) -> list[Growth]:
        """Return how each process has grown that lived long enough to tell."""
        found: list[Growth] = []
        for (part, _), measured in self._measured.items():
            began = measured[0][0]
            warm = [megabytes for at, megabytes in measured if at - began >= _WARM]
            if len(warm) >= 2 * _COMPARED:
                found.append(
                    Growth(
                        part=part,
                        began=statistics.median(warm[:_COMPARED]),
                        ended=statistics.median(warm[-_COMPARED:]),
                        minutes=(measured[-1][0] - began) / 60,
                    )
                )
        return sorted(found, key=lambda growth: growth.part)

    def _measure(self) -> None:
        for part in self._installation.ours:
            if (pid := part.process.pid) is not None:
                with suppress(psutil.NoSuchProcess):
                    megabytes = psutil.Process(pid).memory_full_info().uss / 1e6
                    self._measured[part.name, pid].append((time.monotonic(), megabytes))
