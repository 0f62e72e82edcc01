"""Define the interface of artifact stores: `callboard.storage.folder` is a folder, `callboard.storage.s3` a bucket."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from callboard.schemas.errors import StoreError

TEMPORARY_PREFIX = ".tmp-"
"""Prefix of the names of temporary files."""


@dataclass(frozen=True, slots=True)
class Entry:
    """An object as a list shows it."""

    key: str
    size: int
    """Number of its bytes."""
    modified: datetime
    """When the object was written, in UTC, by the clock of whoever stores the objects; it may be truncated to the
    second."""
    tag: str | None = None
    """Changes when another object is written under the key; None if the store tells nothing of the kind."""


class Store(Protocol):
    """Maps flat keys (`a/b/c.json`, see `callboard.storage.object_keys`) to bytes.

    A write is atomic: a reader sees the old object or the new one, never half of one. It survives the death of the
    process that wrote it. A missing key is `None` or no item, never an error; if a store cannot be reached or refuses,
    the error is `callboard.schemas.errors.StoreError`, which names the key and the cause.
    """

    name: str
    """The folder or the `s3://` address, for people."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r})"

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, replacing what was there."""
        ...

    async def put_file(self, key: str, path: Path) -> None:
        """Write the contents of the local file `path` under `key`."""
        ...

    async def get(self, key: str) -> bytes | None:
        """Return the object under `key`, or None if there is none."""
        ...

    async def get_part(self, key: str, begin: int, size: int) -> bytes | None:
        """Return these bytes of the object under `key`, of which it has the first; None if there is no object."""
        ...

    async def get_file(self, key: str, path: Path) -> bool:
        """Write the object under `key` to the local file `path`; return False if there is none."""
        ...

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object under `key`."""
        ...

    async def delete(self, key: str) -> None:
        """Remove the object under `key`; not an error if there is none."""
        ...

    async def list(self, prefix: str) -> AsyncIterator[str]:
        """Yield the keys that begin with `prefix`, in ascending order."""
        async for entry in self.entries(prefix):
            yield entry.key

    def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        """Yield what `list` yields, with size, time and tag of each last write, from the first key after `after` on.

        `after` need not be a key.
        """
        ...

    async def tidy(self, prefix: str, before: datetime) -> None:
        """Remove what no reader sees below the folder `prefix`.

        That is what writers have left that were killed before then: nothing, where a write leaves nothing behind.
        """

    async def check(self) -> None:
        """Write, read and remove a small object, for the answer to `readyz`.

        Raises:
            StoreError: One of these failed, or gave back something else than what was written.
        """
        key = f"check/{uuid.uuid4().hex}"
        await self.put(key, key.encode())
        found = await self.get(key)
        await self.delete(key)
        if found != key.encode():
            raise StoreError(f"The artifact store {self.name} did not give back what was just written to it.")


def replace_file(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new file beside `target`, then move it there; a failure leaves no temporary file.

    Nobody ever sees half of a file that is written so.
    """
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        write(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def check_key(key: str) -> None:
    """Raise ValueError if `key` cannot be the key of an object."""
    for part in key.split("/"):
        _check_part(key, part)


def check_prefix(prefix: str) -> None:
    """Raise ValueError if no key can begin with `prefix`."""
    *folders, begin = prefix.split("/")
    for part in folders:
        _check_part(prefix, part)
    if "\0" in begin:
        raise ValueError(f"{prefix!r} is not the beginning of a key of the artifact store.")


def _check_part(key: str, part: str) -> None:
    if part in {"", ".", ".."} or part.startswith(TEMPORARY_PREFIX) or "\0" in part:
        raise ValueError(f"{key!r} is not a key of the artifact store: {part!r} cannot be a part of one.")
