"""Do many things, a few of them at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable


async def for_each[T](things: Iterable[T], do: Callable[[T], Awaitable[object]], *, at_once: int) -> None:
    """Do something with each of the things, with `at_once` of them at the same time. The first error ends all."""
    left = iter(things)

    async def work() -> None:
        for thing in left:
            await do(thing)

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(work())
