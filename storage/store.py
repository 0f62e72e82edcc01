"""Define the interface of artifact stores: `storage.folder` keeps one in a folder, `storage.s3` in a bucket."""

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
    """When the object was written, in UTC, by the clock of whoever stores the objects; it may be truncated to the
    second."""


class Store(Protocol):
    """Maps flat keys (`a/b/c.json`, see `storage.keys`) to bytes.

    A write is atomic: a reader sees the old object or the new one, never half of one. It survives the death of the
    process that wrote it. A missing key is `None` or no item, never an error; if a store cannot be reached or refuses,
    the error is `schemas.errors.StoreError`, which names the key and the cause.
    """

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` below `key`, replacing what was there."""
        ...

    async def put_file(self, key: str, path: Path) -> None:
        """Write the contents of the local file `path` below `key`."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the object below `key`, or None if there is none."""
        ...

    async def get_file(self, key: str, path: Path) -> bool:
        """Write the object below `key` to the local file `path`; return False if there is none."""
        ...

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object below `key`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object below `key`; not an error if there is none."""
        ...

    def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`, in ascending order."""
        ...

    def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        """Yield what `list` yields, with the time of each last write, from the first key after `after` on.

        `after` need not be a key.
        """
        ...

    async def tidy(self, prefix: str, before: datetime) -> None:
        """Remove what no reader sees below the folder `prefix`.

        That is what writers have left that were killed before then.
        """
        ...

    async def check(self) -> None:
        """Write, read and remove a small object, for the answer to `readyz`. Raises StoreError."""
        ...
