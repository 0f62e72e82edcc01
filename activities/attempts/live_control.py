"""Who has the hands on the browser of an Attempt. The Attempt's worker decides it, as several apis may have views."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from callboard.schemas.workflow.live import LiveAnswer, LiveHolder, LiveOutcome

LEASE = 30.0
"""Seconds after which somebody who does nothing has the hands no more."""


class Control:
    """The hands on one browser: nobody's, or one holder's until a lease ends that inputs renew."""

    def __init__(self, on_free: Callable[[], None]) -> None:
        """Begin with no holder.

        Args:
            on_free: Called when the holder has given the browser back, or the lease has ended.
        """
        self.holder: LiveHolder | None = None
        self._on_free = on_free
        self._lease: asyncio.TimerHandle | None = None

    def take(self, by: LiveHolder) -> LiveAnswer:
        """Give the browser to a person, unless another one has it. The person who has it may take it again."""
        if self.holder is not None and self.holder.id != by.id:
            return LiveAnswer(outcome=LiveOutcome.HELD, holder=self.holder.name)
        self.holder = by
        self.renew(by)
        return LiveAnswer(outcome=LiveOutcome.DONE)

    def give(self, by: LiveHolder) -> LiveAnswer:
        """Take the browser back from its holder."""
        if (refusal := self.renew(by)) is not None:
            return refusal
        self.free()
        return LiveAnswer(outcome=LiveOutcome.DONE)

    def renew(self, by: LiveHolder) -> LiveAnswer | None:
        """Begin the lease anew; return the refusal for somebody who is not the holder."""
        if self.holder is None or self.holder.id != by.id:
            return LiveAnswer(outcome=LiveOutcome.NOT_HELD)
        if self._lease is not None:
            self._lease.cancel()
        self._lease = asyncio.get_running_loop().call_later(LEASE, self.free)
        return None

    def free(self) -> None:
        """End the lease, if there is one."""
        if self._lease is not None:
            self._lease.cancel()
        self._lease = None
        if self.holder is not None:
            self.holder = None
            self._on_free()
