"""What an api knows of the artifact store for a few seconds, such as whether a key is still good.

It is believed for three seconds, and a read takes two at most: so what another api has written is known within five,
and no message has to reach this one. If the store does not answer, nobody knows.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from callboard.schemas.errors import StoreError, Unavailable
from callboard.storage.single_flight import SingleFlight

_BELIEVED = 3.0
"""Seconds for which an answer is believed, from when its read began."""
_READ_TIMEOUT = 2.0
"""Seconds that a read may take."""
_CACHE_SIZE = 4096
"""Number of answers that are kept in memory. The one that was used longest ago is dropped."""


@dataclass(frozen=True)
class _Answer[V]:
    value: V
    read_at: float
    """When the read began, on the event loop's clock."""


class Believed[V]:
    """Answers of the store by name. An instance belongs to one event loop."""

    def __init__(self, read: Callable[[str], Coroutine[Any, Any, V | None]], doubt: str) -> None:
        """Take what reads an answer, and the sentence of the error when the store does not give one.

        `read` raises StoreError. None is never believed: the name may have been invented.
        """
        self._read = read
        self._doubt = doubt
        self._known: OrderedDict[str, _Answer[V]] = OrderedDict()
        self._reads: SingleFlight[str, V | None] = SingleFlight()

    async def get(self, name: str) -> V | None:
        """Return the answer. Raises Unavailable if the store does not give one."""
        answer = self._known.get(name)
        if answer is not None and asyncio.get_running_loop().time() - answer.read_at < _BELIEVED:
            self._known.move_to_end(name)
            return answer.value
        return await self._reads.run(name, lambda: self._read_now(name))

    def forget(self, name: str) -> None:
        """Read the answer again when it is asked for next."""
        self._known.pop(name, None)

    async def _read_now(self, name: str) -> V | None:
        asked = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(_READ_TIMEOUT):
                value = await self._read(name)
        except (StoreError, TimeoutError) as error:
            raise Unavailable(f"{self._doubt} Try again.") from error
        self._known.pop(name, None)
        if value is not None:
            self._known[name] = _Answer(value, asked)
            if len(self._known) > _CACHE_SIZE:
                self._known.popitem(last=False)
        return value
