"""Run blocking work in a thread, for callers who clean up after it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from machines.cancellation import uncancellable


async def run_in_thread[**P, R](work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Run `work` like `asyncio.to_thread`, but let a cancelled caller continue only when the thread has ended.

    A thread cannot be stopped, and whoever removes the folder that it works in must wait for it. So `work` has to take
    bounded time by itself.
    """
    return await uncancellable(asyncio.to_thread(work, *args, **kwargs))
