"""Hold the values of each project's `persistent_store` within a limit (docs/contract.md, section 3.2).

An artifact store counts nothing, and has no counter that several workers could share. So each worker lists what there
is, at most every ten seconds, and adds what it has written itself since. Workers that write at the same time may pass
the limit together, by what they write within these seconds, and once: after that, all of them know.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict

from schemas.errors import BadRequest
from storage import keys
from storage.store import Store

_KNOWN_FOR = 10.0
"""Seconds for which what was listed counts."""
_SMALLEST = 1024
"""Bytes as which a smaller value counts: objects cost a store something however small they are."""


class StoreQuota:
    """The quota of every project of this worker."""

    def __init__(self, store: Store, limit: int) -> None:
        """Set up without listing anything yet. A project's values may take `limit` bytes."""
        self._store = store
        self._limit = limit
        self._used = defaultdict[str, int](int)
        self._known_until = defaultdict[str, float](float)
        self._turns = defaultdict[str, asyncio.Lock](asyncio.Lock)

    async def replace(self, project: str, old: int, new: int) -> None:
        """Count a value of `new` bytes in place of one of `old` bytes; 0 stands for none.

        What does not grow is always taken, also where a project has more than it may.

        Raises:
            BadRequest: The project's values would pass the limit; the message is a sentence.
            StoreError: They could not be listed.
        """
        growth = _counted(new) - _counted(old)
        async with self._turns[project]:
            if growth > 0 and time.monotonic() > self._known_until[project]:
                sizes = [_counted(entry.size) async for entry in self._store.entries(keys.persistent_values(project))]
                self._used[project], self._known_until[project] = sum(sizes), time.monotonic() + _KNOWN_FOR
            used = self._used[project] + growth
            if growth > 0 and used > self._limit:
                raise BadRequest(
                    f"persistent_store: the store of project {project} is full: with this value, its values would take "
                    f"{used} bytes of at most {self._limit} (CALLBOARD_STORE_LIMIT). Set to None what is not needed."
                )
            self._used[project] = used


def _counted(size: int) -> int:
    return max(size, _SMALLEST) if size else 0
