"""Keep the artifact store in a folder: one file for each key, below one root.

A write goes to a temporary file beside its target and is moved over it, so that a reader sees the old object or the new
one. There is no fsync. The kernel holds what was written, so it survives the death of every process, as
`callboard.storage.store` promises. To survive a power cut would cost a disk flush for each object of each Attempt, on
the path of every Run. Whoever needs that keeps artifacts in a bucket.

A writer that is killed leaves its temporary file behind. No reader ever sees it, and `tidy` removes it.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import suppress
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path

from callboard.schemas.errors import StoreError
from callboard.storage.store import TEMPORARY_PREFIX, Entry, Store, check_key, check_prefix, replace_file

_LIST_BATCH_SIZE = 1000
"""How many entries `entries` fetches in one call of its thread."""

_WRITE_ATTEMPTS = 20
"""How often a write is tried that finds its folder gone (a delete has just emptied it) and creates it again."""


class FolderStore(Store):
    """A store in the folder `root`, which is created at the first write.

    Objects get the permissions that the process's umask leaves; a root created here is its owner's alone. A key that is
    not a plain relative path is a ValueError (`callboard.storage.store`).
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self.name = str(root)

    async def put(self, key: str, data: bytes) -> None:
        """Write `data` under `key`, replacing what was there."""
        target = self._path(key)
        await asyncio.to_thread(self._write, key, target, lambda temporary: _write_bytes(temporary, data))

    async def put_file(self, key: str, path: Path) -> None:
        """Write the contents of the local file `path` under `key`."""
        target = self._path(key)
        await asyncio.to_thread(self._write, key, target, lambda temporary: _copy_file(path, temporary))

    async def get(self, key: str) -> bytes | None:
        """Return the object under `key`, or None if there is none."""
        return await asyncio.to_thread(self._read, key, self._path(key))

    async def get_part(self, key: str, begin: int, size: int) -> bytes | None:
        """Return these bytes of the object under `key`, of which it has the first; None if there is no object."""
        return await asyncio.to_thread(self._read, key, self._path(key), begin, size)

    async def get_file(self, key: str, path: Path) -> bool:
        """Write the object under `key` to the local file `path`; return False if there is none."""
        return await asyncio.to_thread(self._copy_to, key, self._path(key), path)

    async def exists(self, key: str) -> bool:
        """Tell whether there is an object under `key`."""
        return await asyncio.to_thread(self._exists, key, self._path(key))

    async def delete(self, key: str) -> None:
        """Remove the object under `key`, and the folders that it leaves empty."""
        await asyncio.to_thread(self._remove, key, self._path(key))

    async def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        """Yield these keys with size, time and tag of their last write, from the first key after `after` on."""
        check_prefix(prefix)
        found = self._with_times(_walk(self._root, "", prefix, after))
        while batch := await asyncio.to_thread(self._next_batch, prefix, found):
            for entry in batch:
                yield entry

    async def tidy(self, prefix: str, before: datetime) -> None:
        """Remove temporary files that were written before then, and empty folders."""
        check_prefix(prefix)
        await asyncio.to_thread(self._tidy, prefix, before.timestamp())

    def _path(self, key: str) -> Path:
        check_key(key)
        return self._root / key

    def _error(self, what: str, key: str, cause: OSError) -> StoreError:
        reason = cause.strerror or str(cause) or type(cause).__name__
        return StoreError(f"The artifact store {self._root} could not {what} {key!r}: {reason}.")

    def _write(self, key: str, target: Path, fill: Callable[[Path], None]) -> None:
        try:
            if not self._root.exists():
                self._root.parent.mkdir(parents=True, exist_ok=True)
                self._root.mkdir(mode=0o700, exist_ok=True)
            for tries_left in reversed(range(_WRITE_ATTEMPTS)):
                try:
                    target.parent.mkdir(parents=True, exist_ok=True)
                    return replace_file(target, fill)
                except (FileNotFoundError, FileExistsError):
                    # If mkdir sees a folder exist and vanish again, both errors mean the same here.
                    if not tries_left:
                        raise
        except OSError as error:
            raise self._error("write", key, error) from error

    def _read(self, key: str, path: Path, begin: int = 0, size: int = -1) -> bytes | None:
        try:
            with path.open("rb") as file:
                file.seek(begin)
                return file.read(size)
        except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
            return None
        except OSError as error:
            raise self._error("read", key, error) from error

    def _copy_to(self, key: str, path: Path, target: Path) -> bool:
        if not self._exists(key, path):
            return False
        try:
            replace_file(target, lambda temporary: _copy_file(path, temporary))
        except OSError as error:
            if isinstance(error, FileNotFoundError) and not self._exists(key, path):
                return False
            raise self._error("read", key, error) from error
        return True

    def _exists(self, key: str, path: Path) -> bool:
        try:
            return stat.S_ISREG(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise self._error("look for", key, error) from error

    def _remove(self, key: str, path: Path) -> None:
        if not self._exists(key, path):
            return
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._error("remove", key, error) from error
        for folder in path.parents:
            if folder == self._root:
                return
            try:
                folder.rmdir()
            except OSError:
                return  # The folder holds other objects, or somebody is writing one just now.

    def _tidy(self, prefix: str, before: float) -> None:
        try:
            _remove_abandoned(self._root / prefix, before)
        except OSError as error:
            raise self._error("tidy up", prefix, error) from error

    def _with_times(self, keys: Generator[str]) -> Generator[Entry]:
        for key in keys:
            with suppress(FileNotFoundError):  # the object has just been removed
                status = (self._root / key).stat()
                tag = f"{status.st_mtime_ns}-{status.st_size}-{status.st_ino}"
                yield Entry(key, status.st_size, datetime.fromtimestamp(status.st_mtime, UTC), tag)

    def _next_batch(self, prefix: str, found: Generator[Entry]) -> tuple[Entry, ...]:
        try:
            return tuple(islice(found, _LIST_BATCH_SIZE))
        except OSError as error:
            raise self._error("list", prefix, error) from error


def _write_bytes(temporary: Path, data: bytes) -> None:
    with temporary.open("xb") as file:
        file.write(data)


def _copy_file(source: Path, temporary: Path) -> None:
    with source.open("rb") as begin, temporary.open("xb") as end:
        shutil.copyfileobj(begin, end, 1024 * 1024)


def _walk(folder: Path, key: str, prefix: str, after: str) -> Generator[str]:
    """Yield the keys below `folder` that begin with `prefix` and come after `after`, in ascending order.

    `key` is the key of `folder` itself.
    """
    try:
        with os.scandir(folder) as entries:
            # A folder sorts with its slash: "a.json" comes before "a/b", as it does in a bucket.
            found = sorted(
                (entry.name + "/" if entry.is_dir() else entry.name)
                for entry in entries
                if not entry.name.startswith(TEMPORARY_PREFIX)
            )
    except FileNotFoundError:
        return  # Nothing was ever written, or a delete has just emptied the folder.
    for name in found:
        here = key + name
        if name.endswith("/"):
            if (here.startswith(prefix) or prefix.startswith(here)) and (here > after or after.startswith(here)):
                yield from _walk(folder / name, here, prefix, after)
        elif here.startswith(prefix) and here > after:
            yield here


def _remove_abandoned(folder: Path, before: float) -> None:
    try:
        with os.scandir(folder) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            _remove_abandoned(folder / entry.name, before)
            with suppress(OSError):  # mostly the folder is not empty; a concurrent writer creates it again
                (folder / entry.name).rmdir()
        elif entry.name.startswith(TEMPORARY_PREFIX):
            with suppress(FileNotFoundError):  # its writer has finished
                if entry.stat(follow_symlinks=False).st_mtime < before:
                    (folder / entry.name).unlink()
