"""A rate limiter that counts by caller, within a window that begins with the caller's first request.

It keeps a bounded number of callers in memory: who sends from ever new addresses must not fill it.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import timedelta
from time import monotonic

_MAX_CALLERS = 4096
"""Number of callers whose count is kept. The one that was counted longest ago is dropped."""


class RateLimiter:
    """A fixed-window rate limiter of one process, in memory."""

    def __init__(self, limit: int, duration: timedelta) -> None:
        """Allow each caller `limit` requests within `duration`."""
        self._limit = limit
        self._duration = duration.total_seconds()
        self._windows: OrderedDict[str, tuple[float, int]] = OrderedDict()
        """Begin of the window of each caller, and its requests so far, the one that was counted last at the end."""

    def retry_after(self, caller: str) -> int:
        """Return how many seconds a caller has to wait before the next request; 0 means that it need not wait."""
        began, count = self._window(caller)
        return 0 if count < self._limit else max(1, round(began + self._duration - monotonic()))

    def record(self, caller: str) -> None:
        """Count one request of a caller."""
        began, count = self._window(caller)
        self._windows[caller] = (began, count + 1)
        self._windows.move_to_end(caller)
        if len(self._windows) > _MAX_CALLERS:
            self._windows.popitem(last=False)

    def _window(self, caller: str) -> tuple[float, int]:
        now = monotonic()
        began, count = self._windows.get(caller, (now, 0))
        return (began, count) if now - began < self._duration else (now, 0)
