"""Handling signals in a terminal: the first Ctrl-C ends the work in order, the second one at once."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


async def run_until_signalled[T](work: Coroutine[Any, Any, T], *, on_second_signal: Callable[[], None]) -> T | None:
    """Run `work`, cancel it at the first SIGINT, SIGTERM or SIGHUP, and call `on_second_signal` at each further one.

    Return what `work` returned, or None if it was ended by a signal and has cleaned up after itself.
    """
    loop = asyncio.get_running_loop()
    task = asyncio.create_task(work)
    signalled = False

    def on_signal() -> None:
        nonlocal signalled
        if signalled:
            on_second_signal()
        else:
            signalled = True
            task.cancel()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal)
    try:
        await asyncio.wait((task,))
    except asyncio.CancelledError:
        task.cancel()
        await asyncio.wait((task,))
        raise
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)
    if signalled and task.cancelled():
        return None
    return await task
