"""The seam: what an artifact store can do. `storage.folder` is one; an S3 bucket is the other."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a list shows it."""

    key: str
    modified: datetime
    """When it was written, in UTC, by the clock of whoever keeps the objects; it may be cut to the second."""


class Store(Protocol):
    """Flat keys (`a/b/c.json`, see `storage.keys`) to bytes.

    A write is atomic: a reader sees the old object or the new one, never half of one. It survives the death of
    the process that wrote it. A missing key is `None` or no item, never an error; a store that cannot be reached
    or refuses is `schemas.errors.StoreError`, which names the key and the cause.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` below `key`, replacing what was there."""
        ...

    async def put_file(self, key: str, path: Path) -> None:
        """Write the contents of the local file `path` below `key`."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The object below `key`, or None if there is none."""
        ...

    async def get_file(self, key: str, path: Path) -> bool:
        """Write the object below `key` to the local file `path`; False if there is none."""
        ...

    async def exists(self, key: str) -> bool:
        """Whether there is an object below `key`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object below `key`; not an error if there is none."""
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """The keys that begin with `prefix`, in ascending order."""
        ...

    def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        """As `list`, with when each was written, and only the keys that come after `after` (which need not be one)."""
        ...

    async def tidy(self, prefix: str, before: datetime) -> None:
        """Remove what no reader sees: what writers that were killed before then have left below `prefix`, a folder."""
        ...

    async def check(self) -> None:
        """Write, read and remove a small object. Raises StoreError: the answer to `readyz`."""
        ...
