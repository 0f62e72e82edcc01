"""Locking a folder between processes: the kernel releases the lock when its owner dies."""

from __future__ import annotations

import fcntl
import os
import shutil
from pathlib import Path


def lock_folder(folder: Path) -> int | None:
    """Return a file descriptor that locks `folder` until it is closed; None if another has the lock or it is gone."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.path.samestat(os.fstat(lock), folder.stat()):
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def remove_if_left_behind(folder: Path) -> None:
    """Remove `folder` if the process that locked it is dead."""
    lock = lock_folder(folder)
    if lock is not None:
        try:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(lock)
