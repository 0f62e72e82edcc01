"""Share calls between callers that ask the same thing at the same time, without giving anybody an outdated answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Hashable
from typing import Any


class Coalescer[K: Hashable, V]:
    """Runs one call at a time for each key, and lets all callers that ask meanwhile share the next one.

    A caller never shares a call that has begun before it asked: so it sees whatever it has done before it asked. The
    calls go on when their callers are cancelled; they must end by themselves in bounded time, or `close` ends them.
    """

    def __init__(self) -> None:
        self._next: dict[K, asyncio.Task[V]] = {}
        """Calls that have not begun."""
        self._current: dict[K, asyncio.Task[V]] = {}
        """Calls that are running."""

    async def run(self, key: K, call: Callable[[], Coroutine[Any, Any, V]]) -> V:
        """Return the result of a call for `key` that begins from now on, or raise what it raises."""
        task = self._next.get(key)
        if task is None:
            task = self._next[key] = asyncio.create_task(self._run_next(key, call, self._current.get(key)))
            task.add_done_callback(_mark_retrieved)
        return await asyncio.shield(task)

    async def close(self) -> None:
        """Cancel all calls, and wait until they have ended."""
        tasks = [*self._next.values(), *self._current.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._next.clear()

    async def _run_next(
        self, key: K, call: Callable[[], Coroutine[Any, Any, V]], previous: asyncio.Task[V] | None
    ) -> V:
        if previous is not None:
            await asyncio.wait([previous])
        self._current[key] = self._next.pop(key)  # Whoever asks from now on waits for another call.
        try:
            return await call()
        finally:
            del self._current[key]


def _mark_retrieved(task: asyncio.Task[Any]) -> None:
    """Mark the exception as retrieved: asyncio would log it if all callers have left."""
    if not task.cancelled():
        task.exception()
