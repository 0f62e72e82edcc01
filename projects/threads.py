"""Blocking work off the event loop, by callers who clean up after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def in_thread[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Like `asyncio.to_thread`, but a cancelled caller goes on only when the thread has ended.

    A thread cannot be stopped. Whoever removes the folder that it works in must wait for it; so `work` has to be
    bounded by itself.
    """
    task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            try:
                await asyncio.wait([task])
            except asyncio.CancelledError:
                continue  # Cancelled once more; the first cancellation is raised below all the same.
        if not task.cancelled():
            task.exception()  # Looked at, so that nobody reports it as forgotten.
        raise
