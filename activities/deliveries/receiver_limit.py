"""Share a worker's places for tries between receivers, so that one that does not answer leaves room for others."""

from __future__ import annotations

import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import timedelta

_MIN_DELAY = 1.0
"""Least seconds until a try that found no place comes again."""


class ReceiverBusyError(Exception):
    """As many tries as a receiver may have are under way on this worker."""

    def __init__(self, receiver: str, tries: int, delay: timedelta) -> None:
        super().__init__(f"{tries} tries to {receiver} are under way on this worker; this one waits for its turn.")
        self.delay = delay
        """Time after which another one may find a place."""


class ReceiverLimit:
    """The places of a worker. A receiver gets another one only while it leaves at least as many as it has.

    So a receiver that never answers has half of the places, a second one a quarter, and so on.
    """

    def __init__(self, places: int) -> None:
        self._places = places
        self._begun: dict[str, list[float]] = {}
        """When the tries under way began, by receiver and by the monotonic clock, the oldest first."""

    @contextmanager
    def hold_place(self, receiver: str, *, longest_delay: timedelta) -> Generator[None]:
        """Hold a place for a try to this receiver until the block ends.

        Args:
            receiver: The receiver.
            longest_delay: How long a try lasts at most: after that time, places have become free.

        Raises:
            ReceiverBusyError: There is no place for it.
        """
        begun = self._begun.get(receiver, [])
        free = self._places - sum(map(len, self._begun.values()))
        now = time.monotonic()
        if begun and len(begun) >= free:
            raise ReceiverBusyError(receiver, len(begun), _delay(now - begun[0], longest_delay))
        self._begun.setdefault(receiver, []).append(now)
        try:
            yield
        finally:
            self._begun[receiver].remove(now)
            if not self._begun[receiver]:
                del self._begun[receiver]


def _delay(oldest: float, longest: timedelta) -> timedelta:
    """Return when to come again: the longer the receiver has not answered, the later; each at another time."""
    seconds = max(_MIN_DELAY, oldest) * random.uniform(1.0, 2.0)  # noqa: S311 - nothing has to be kept secret
    return min(timedelta(seconds=seconds), max(longest, timedelta(seconds=_MIN_DELAY)))
