"""Sharing one call between callers that want the same thing at the same time."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Call[V]:
    task: asyncio.Task[V]
    waiting: int = 0


class SingleFlight[K: Hashable, V]:
    """A runner of one call at a time for each key, whose result or error all callers meanwhile get.

    The call belongs to all callers that wait for it: a cancelled caller does not stop it for the others, but the last
    caller that is cancelled cancels it and waits for its end.
    """

    def __init__(self) -> None:
        self._in_flight: dict[K, _Call[V]] = {}

    async def run(self, key: K, start: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of `start`, or of the call for `key` that is already running."""
        call = self._in_flight.get(key)
        if call is None:
            call = self._in_flight[key] = _Call(asyncio.ensure_future(start()))
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if self._in_flight.get(key) is call and (call.task.done() or not call.waiting):
                del self._in_flight[key]  # Later callers start a new call.
            if not call.waiting:
                if not call.task.done():
                    call.task.cancel()
                    await asyncio.wait([call.task])
                if not call.task.cancelled():
                    call.task.exception()  # This marks the exception as retrieved, so that asyncio does not log it.
