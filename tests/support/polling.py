"""Waiting for what can only be looked at."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable


async def until(condition: Callable[[], object], within: float = 60.0, *, every: float = 0.01) -> None:
    """Look again and again until it is true; or, of one that is to be awaited, its answer.

    Args:
        condition: What is looked at.
        within: Seconds.
        every: Seconds from one look to the next.

    Raises:
        TimeoutError: It did not become true.
    """
    async with asyncio.timeout(within):
        while True:
            answer = condition()
            if inspect.isawaitable(answer):
                answer = await answer
            if answer:
                return
            await asyncio.sleep(every)


def block_until[T](condition: Callable[[], T], within: float = 60.0) -> T:
    """The same for tests without an event loop; returns what has become true. AssertionError if nothing has."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, "It did not become true."
        time.sleep(0.01)
    return found
