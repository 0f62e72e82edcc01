"""Finish what must be finished, also when somebody cancels in the middle of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable


async def uncancellable[T](work: Awaitable[T]) -> T:
    """Await `work` to its end. A cancel that arrives meanwhile is raised afterwards; `work` must bound itself."""
    task = asyncio.ensure_future(work)
    canceled = False
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise
            canceled = True
        except Exception:  # noqa: BLE001  # raised below, by result()
            break
    if canceled:
        if not task.cancelled():
            task.exception()  # retrieved: the cancel is what the caller hears
        raise asyncio.CancelledError
    return task.result()
