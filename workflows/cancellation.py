"""Let the steps of a workflow go on when its cancel is requested."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any


async def finish[T](steps: Coroutine[Any, Any, T], on_cancel: Callable[[], None]) -> T:
    """Await all steps of a workflow. A cancel request is told to `on_cancel`, and interrupts none of them.

    A cancel can come at any point; an activity or a signal that is awaited would swallow it.
    """
    running = asyncio.ensure_future(steps)
    while not running.done():
        try:
            await asyncio.shield(running)
        except asyncio.CancelledError:
            on_cancel()
    return running.result()
