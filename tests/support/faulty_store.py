"""A store in a folder that fails, or waits, when it is told to."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

from callboard.schemas.errors import StoreError
from callboard.storage.folder import FolderStore


class FaultyStore(FolderStore):
    """A folder store that can be made to fail, and to wait."""

    def __init__(self, root: Path, refuse: Callable[[str], bool] = lambda _key: False) -> None:
        super().__init__(root)
        self.refuse: Callable[[str], bool] = refuse
        """Which keys cannot be written, read or deleted now."""
        self.hold: Callable[[str, bytes], asyncio.Event | None] = lambda _key, _data: None
        """What a write waits for before it is carried out, whatever has become of whoever asked for it."""
        self.tries: list[str] = []
        self.given: list[tuple[str, bytes]] = []
        self.writes: list[tuple[str, bytes]] = []
        """In the order in which they were carried out."""

    async def put(self, key: str, data: bytes) -> None:
        self._check(key)
        wait = self.hold(key, data)
        self.given.append((key, data))
        carrying_out = asyncio.ensure_future(self._put(key, data, wait))
        await asyncio.shield(carrying_out)  # as a thread does it

    async def _put(self, key: str, data: bytes, wait: asyncio.Event | None) -> None:
        if wait is not None:
            await wait.wait()
        await super().put(key, data)
        self.writes.append((key, data))

    async def put_file(self, key: str, path: Path) -> None:
        self._check(key)
        await super().put_file(key, path)

    async def get(self, key: str) -> bytes | None:
        self._check(key)
        return await super().get(key)

    async def delete(self, key: str) -> None:
        self._check(key)
        await super().delete(key)

    def _check(self, key: str) -> None:
        self.tries.append(key)
        if self.refuse(key):
            raise StoreError(f"The store is away: {key}")


def failing(times: int, name: str) -> Callable[[str], bool]:
    """Refuse this file so many times."""
    left = [times]

    def refuse(key: str) -> bool:
        if not key.endswith(name) or not left[0]:
            return False
        left[0] -= 1
        return True

    return refuse
