"""Running blocking work in a thread, for callers who clean up after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def run_in_thread[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` like `asyncio.to_thread`, but let a cancelled caller continue only when the thread has ended.

    A thread cannot be stopped, and whoever removes the folder that it works in must wait for it. So `work` has to take
    bounded time by itself.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue  # It was cancelled once more; the first cancellation is raised below all the same.
        if not task.cancelled():
            task.exception()  # This marks the exception as retrieved, so that asyncio does not log it.
        raise
