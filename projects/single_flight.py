"""Callers that want the same thing at the same time wait for one piece of work."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class _Call[V]:
    task: asyncio.Task[V]
    waiting: int = 0


class SharedCalls[K: Hashable, V]:
    """Runs one call at a time for each key. All who ask meanwhile get its result or its error.

    The call belongs to those who wait for it: a caller that is cancelled takes it from nobody, and the last one
    that is cancelled stops it and sees it end.
    """

    def __init__(self) -> None:
        self._calls: dict[K, _Call[V]] = {}

    async def run(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """The result of `work`, or of the call for `key` that is already on its way."""
        call = self._calls.get(key)
        if call is None:
            call = self._calls[key] = _Call(asyncio.ensure_future(work()))
        call.waiting += 1
        try:
            return await asyncio.shield(call.task)
        finally:
            call.waiting -= 1
            if self._calls.get(key) is call and (call.task.done() or not call.waiting):
                del self._calls[key]  # Who asks from now on begins anew.
            if not call.waiting:
                if not call.task.done():
                    call.task.cancel()
                    await asyncio.wait([call.task])
                if not call.task.cancelled():
                    call.task.exception()  # Looked at, so that nobody reports it as forgotten.
