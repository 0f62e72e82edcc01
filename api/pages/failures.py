"""Failures to sign in, counted by address: whoever guesses keys is soon told to wait."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from datetime import timedelta
from time import monotonic

ALLOWED = 10
"""Failures of one address within `WITHIN`."""
WITHIN = timedelta(minutes=5)
_REMEMBERED = 4096
"""Addresses. Memory must not grow with them; the one that failed longest ago is forgotten."""


@dataclass
class _Count:
    since: float
    failures: int = 0


class Failures:
    """Of one process, in memory."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, _Count] = OrderedDict()

    def wait(self, address: str) -> int:
        """Seconds until this address may try again; 0: now."""
        count = self._current(address)
        if count is None or count.failures < ALLOWED:
            return 0
        return max(1, round(count.since + WITHIN.total_seconds() - monotonic()))

    def note(self, address: str) -> None:
        """It has failed."""
        count = self._current(address) or _Count(monotonic())
        count.failures += 1
        self._counts[address] = count
        self._counts.move_to_end(address)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)

    def _current(self, address: str) -> _Count | None:
        count = self._counts.get(address)
        if count is not None and monotonic() - count.since >= WITHIN.total_seconds():
            del self._counts[address]
            return None
        return count
