"""Waiting for what can only be looked at."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, overload


@overload
async def until[T](
    look: Callable[[], Awaitable[T]], within: float = ..., *, true: Callable[[T], object] = ..., every: float = ...
) -> T: ...
@overload
async def until[T](
    look: Callable[[], T], within: float = ..., *, true: Callable[[T], object] = ..., every: float = ...
) -> T: ...
async def until(
    look: Callable[[], Any], within: float = 60.0, *, true: Callable[[Any], object] = bool, every: float = 0.01
) -> Any:
    """Look again and again until what is seen is true; return it.

    Args:
        look: Returns what is seen, or an awaitable of it.
        within: Seconds.
        true: Whether that is what is waited for; if absent, whether it is true by itself.
        every: Seconds from one look to the next.

    Raises:
        TimeoutError: It did not become true.
    """
    async with asyncio.timeout(within):
        while True:
            seen = look()
            if inspect.isawaitable(seen):
                seen = await seen
            if true(seen):
                return seen
            await asyncio.sleep(every)


def block_until[T](condition: Callable[[], T], within: float = 60.0) -> T:
    """The same for tests without an event loop; returns what has become true. AssertionError if nothing has."""
    deadline = time.monotonic() + within
    while not (found := condition()):
        assert time.monotonic() < deadline, "It did not become true."
        time.sleep(0.01)
    return found
