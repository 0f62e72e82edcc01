"""The lease under which a worker may have Machines: how many of each project, and until when.

The clock also counts while the host sleeps. Every keeper has the deadline as well, and ends its Machine when it is
over: a worker that is stopped cannot do that.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Mapping

Tell = Callable[[float], None]


class LeaseEndedError(Exception):
    """The worker's lease is over: it cannot go on with the Attempt, which another worker may be given by now."""


def boottime() -> float:
    """Return the seconds since the host was started, by a clock that nobody sets."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Lease:
    """What the worker may have, by the last answer of the workflow `Fleet`. Without an argument, it has no end.

    The workflow counts the larger of two numbers of each project: the share that it has given, and what the worker has
    said to hold when it asked. `most` is that number, so no pool may be larger at any moment.
    """

    def __init__(self, deadline: float = math.inf) -> None:
        self.deadline = deadline
        """The end, as `boottime` counts."""
        self._followers: list[Tell] = []
        self._shares: dict[str, int] = {}
        self._most: dict[str, int] = {}

    @property
    def projects(self) -> Collection[str]:
        """The projects that the worker has a share of, or may still hold Machines of."""
        return {*self._shares, *self._most}

    def share(self, project: str) -> int:
        """Return how many Machines the worker should have."""
        return self._shares.get(project, 0)

    def most(self, project: str) -> int:
        """Return how many Machines the worker may have, until Attempts that are on their way have ended."""
        return self._most.get(project, 0)

    def declare(self, in_use: Mapping[str, int]) -> dict[str, int]:
        """Return what the worker holds at most from now on, given what is in use now, and hold it to that."""
        held = {project: max(self.share(project), in_use.get(project, 0)) for project in {*self._shares, *in_use}}
        self._most = {project: count for project, count in sorted(held.items()) if count > 0}
        return dict(self._most)

    def grant(self, shares: Mapping[str, int]) -> None:
        """Take over the answer to what was declared last."""
        self._shares = dict(shares)
        self._most = {project: max(shares.get(project, 0), self.most(project)) for project in {*shares, *self._most}}

    def revoke(self) -> None:
        """Take all shares away: the lease is over, or about to be."""
        self._shares, self._most = {}, {}

    @property
    def remaining(self) -> float:
        """Seconds until the end; negative after it."""
        return self.deadline - boottime()

    @property
    def ended(self) -> bool:
        """Whether the lease is over now."""
        return self.remaining <= 0

    def extend(self, deadline: float) -> None:
        """Move the end to a later time, and tell all followers."""
        if deadline > self.deadline:
            self.deadline = deadline
            for tell in list(self._followers):
                tell(deadline)

    def follow(self, tell: Tell) -> Callable[[], None]:
        """Have `tell` called with every new deadline, until the function that is returned is called."""
        self._followers.append(tell)
        return lambda: self._followers.remove(tell)
