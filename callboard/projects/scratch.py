"""Folders for one piece of work, which are removed with it, also if their owner was killed."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

from callboard.projects.processes import run_in_thread
from callboard.storage.file_lock import create_and_try_lock, remove_if_abandoned

_PREFIX = ".partial-"


@asynccontextmanager
async def scratch_folder(parent: Path) -> AsyncGenerator[Path]:
    """Make a folder below `parent` for as long as the block lasts. Those of owners that were killed are removed.

    The kernel holds a lock on each folder until its owner ends, so the next owner can tell which are abandoned.

    Raises:
        OSError: The folder cannot be made.
    """
    folder = parent / f"{_PREFIX}{uuid.uuid4().hex}"
    await run_in_thread(_remove_abandoned, parent)
    # Not in a thread: a cancelled caller would lose the lock.
    while (lock := create_and_try_lock(folder)) is None:
        pass
    try:
        yield folder
    finally:
        try:
            # This may fail if a cancelled download is still writing; the next owner removes what is left.
            await run_in_thread(shutil.rmtree, folder, ignore_errors=True)
        finally:
            lock.release()


def _remove_abandoned(parent: Path) -> None:
    for other in parent.glob(f"{_PREFIX}*"):
        remove_if_abandoned(other)
