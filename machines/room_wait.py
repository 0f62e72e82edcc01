"""The wait of an Attempt that its worker has taken, but has no room for yet: all Machines that it may have are busy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime


class RoomTimeoutError(Exception):
    """There was no room for the Attempt for as long as it may wait."""


class RoomWait:
    """Whether an Attempt waits for room now, and until when it may. Without an argument, it may wait for any time."""

    def __init__(self, until: datetime | None = None) -> None:
        self._until = until
        self._room = asyncio.Event()
        self._room.set()

    @property
    def waits(self) -> bool:
        """Whether the Attempt waits for room now."""
        return not self._room.is_set()

    async def over(self) -> None:
        """Return as soon as the Attempt does not wait."""
        await self._room.wait()

    @asynccontextmanager
    async def waiting(self) -> AsyncGenerator[None]:
        """Wait for room within the block. Raises RoomTimeoutError as soon as that takes too long."""
        self._room.clear()
        limit = asyncio.timeout(self._remaining())
        try:
            async with limit:
                yield
        except TimeoutError:
            if limit.expired():
                raise RoomTimeoutError from None
            raise
        finally:
            self._room.set()

    def _remaining(self) -> float | None:
        return None if self._until is None else (self._until - datetime.now(UTC)).total_seconds()
