"""The lease under which a worker may have Machines: until when, by a clock that also counts while the host sleeps.

Every keeper has the deadline as well, and ends its Machine when it is over: a worker that is stopped cannot do that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable

Tell = Callable[[float], None]


class LeaseEndedError(Exception):
    """The worker's lease is over: it cannot go on with the Attempt, which another worker may be given by now."""


def boottime() -> float:
    """Return the seconds since the host was started, by a clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """Until when the worker may have Machines. Without an argument, it has no end."""

    def __init__(self, deadline: float = math.inf) -> None:
        self._deadline = deadline
        self._followers: list[Tell] = []

    @property
    def deadline(self) -> float:
        """The end, as `boottime` counts."""
        return self._deadline

    @property
    def remaining(self) -> float:
        """Seconds until the end; negative after it."""
        return self._deadline - boottime()

    @property
    def ended(self) -> bool:
        """Whether the lease is over now."""
        return self.remaining <= 0

    def extend(self, deadline: float) -> None:
        """Move the end to a later time, and tell all followers."""
        if deadline > self._deadline:
            self._deadline = deadline
            for tell in list(self._followers):
                tell(deadline)

    def follow(self, tell: Tell) -> Callable[[], None]:
        """Have `tell` called with every new deadline, until the function that is returned is called."""
        self._followers.append(tell)
        return lambda: self._followers.remove(tell)
