"""A moment in which the Machine leaves the processor to others, unless somebody waits for it."""

from __future__ import annotations

import asyncio
import contextlib


class Courtesy:
    """Shown between two Attempts, `seconds` long at most."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._wanted = asyncio.Event()

    def renew(self) -> None:
        """An Attempt begins: nobody waits for the next."""
        self._wanted.clear()

    def end(self) -> None:
        """Somebody waits for the Machine."""
        self._wanted.set()

    async def show(self) -> None:
        """Wait, for as long as nobody else does."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._seconds):
                await self._wanted.wait()
