"""Lock files and folders between the processes of one host.

The kernel holds each lock (`flock`) and releases it when its owner ends, however that ends. So a lock is never stale,
and whoever finds it free knows that its last owner is gone.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
from pathlib import Path
from types import TracebackType
from typing import Self


class FileLock:
    """A lock that this process holds on a file or a folder until it is released."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Release the lock."""
        os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def try_lock(path: Path) -> FileLock | None:
    """Lock an existing file or folder; return None if another process holds its lock, or if it does not exist.

    Do not call this in a thread whose caller may be cancelled: the lock would be lost.
    """
    return _lock(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def create_and_try_lock(folder: Path) -> FileLock | None:
    """Create a folder, unless it exists, and lock it; return None if another process holds its lock, or has removed it.

    Do not call this in a thread whose caller may be cancelled: the lock would be lost.
    """
    # mkdir with exist_ok refuses a folder that another owner of the lock removes while mkdir finds it there.
    folder.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        folder.mkdir()
    return try_lock(folder)


def wait_for_lock(path: Path) -> FileLock:
    """Lock an existing file or folder, and wait as long as another process holds its lock.

    Raises:
        FileNotFoundError: It does not exist, or was replaced meanwhile.
    """
    lock = _lock(path, fcntl.LOCK_EX)
    if lock is None:
        raise FileNotFoundError(f"{path} was removed while it was being locked.")
    return lock


def is_locked(path: Path) -> bool:
    """Tell whether a living process holds the lock of a file or folder."""
    lock = _lock(path, fcntl.LOCK_SH | fcntl.LOCK_NB)
    if lock is not None:
        lock.release()
    return lock is None and path.exists()


def remove_if_abandoned(folder: Path) -> None:
    """Remove `folder` if no living process holds its lock."""
    lock = try_lock(folder)
    if lock is not None:
        with lock:
            shutil.rmtree(folder, ignore_errors=True)


def _lock(path: Path, operation: int) -> FileLock | None:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, operation)
        # An owner may have removed it, and another process may have created it again, before this lock was granted.
        if os.path.samestat(os.fstat(descriptor), path.stat()):
            return FileLock(descriptor)
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None
