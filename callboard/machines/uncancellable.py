"""Finish work that must be finished, even when the waiting task is canceled in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def uncancellable[T](work: Awaitable[T]) -> T:
    """Await `work` to its end. A cancel that arrives meanwhile is raised afterwards; `work` must bound its own time."""
    task = asyncio.ensure_future(work)
    canceled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            canceled = True
        except Exception:  # noqa: BLE001  # it is raised below, by result()
            break
    if canceled:
        if not task.cancelled():
            task.exception()  # mark it as retrieved: the caller hears of the cancel instead
        raise asyncio.CancelledError
    return task.result()
