"""A rate limiter that counts by caller, within a window that begins with the caller's first request.

It keeps a bounded number of callers in memory: who sends from ever new addresses must not fill it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

_MAX_CALLERS = 4096
"""Number of callers whose count is kept. The one that was counted longest ago is dropped."""


@dataclass
class _Window:
    started_at: float
    count: int = 0


class RateLimiter:
    """A fixed-window rate limiter of one process, in memory."""

    def __init__(self, limit: int, duration: timedelta) -> None:
        """Allow each caller `limit` requests within `duration`."""
        self._limit = limit
        self._duration = duration.total_seconds()
        self._windows: OrderedDict[str, _Window] = OrderedDict()

    def retry_after(self, caller: str) -> int:
        """Return how many seconds a caller has to wait before the next request; 0 means that it need not wait."""
        window = self._open_window(caller)
        if window is None or window.count < self._limit:
            return 0
        return max(1, round(window.started_at + self._duration - monotonic()))

    def record(self, caller: str) -> None:
        """Count one request of a caller."""
        window = self._open_window(caller) or _Window(monotonic())
        window.count += 1
        self._windows[caller] = window
        self._windows.move_to_end(caller)
        if len(self._windows) > _MAX_CALLERS:
            self._windows.popitem(last=False)

    def _open_window(self, caller: str) -> _Window | None:
        window = self._windows.get(caller)
        if window is not None and monotonic() - window.started_at >= self._duration:
            del self._windows[caller]
            return None
        return window
