"""How many Runs of a project wait for a Machine, as far as the setting `replication.maxQueued` needs to know it."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

_MAX_AGE = 1.0
"""Seconds for which a count is used. Temporal allows some ten queries a second, and lists of Runs need them, too."""


@dataclass
class _Count:
    waiting: int
    counted_at: float
    """By the monotonic clock."""


class QueueCounts:
    """The last count of each project, and what this process has started since."""

    def __init__(self) -> None:
        self._counts: dict[str, _Count] = {}
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def count(self, project: str, read: Callable[[], Awaitable[int]]) -> int:
        """Return how many Runs wait; `read` is awaited if the last count is too old. Raises what that raises."""
        async with self._locks[project]:
            known = self._counts.get(project)
            if known is None or time.monotonic() - known.counted_at > _MAX_AGE:
                known = self._counts[project] = _Count(await read(), time.monotonic())
            return known.waiting

    def add(self, project: str) -> None:
        """Count a Run that is being started: lists show it only later."""
        self._counts[project].waiting += 1
