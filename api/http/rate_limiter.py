"""A rate limiter that counts by caller, within a window that begins with the caller's first request."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

_REMEMBERED = 4096
"""Number of callers whose count is kept, so that memory is bounded. The least recent one is forgotten."""


@dataclass
class _Count:
    since: float
    times: int = 0


class RateLimiter:
    """A fixed-window rate limiter of one process, in memory."""

    def __init__(self, times: int, within: timedelta) -> None:
        """Allow each caller to do something `times` times `within` that duration."""
        self._times = times
        self._within = within.total_seconds()
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait(self, who: str) -> int:
        """Return how many seconds a caller has to wait before the next time; 0 means that they need not wait."""
        count = self._current(who)
        if count is None or count.times < self._times:
            return 0
        return max(1, round(count.since + self._within - monotonic()))

    def record(self, who: str) -> None:
        """Count one more time for a caller."""
        count = self._current(who) or _Count(monotonic())
        count.times += 1
        self._counts[who] = count
        self._counts.move_to_end(who)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)

    def _current(self, who: str) -> _Count | None:
        count = self._counts.get(who)
        if count is not None and monotonic() - count.since >= self._within:
            del self._counts[who]
            return None
        return count
