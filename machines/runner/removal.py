"""Delete folders that user code could write in, and take files out of them.

This module uses the standard library alone, as a Machine's keeper and its child need it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from pathlib import Path


def remove(folder: str | Path) -> None:
    """Delete a folder, even if user code has taken our permissions away. What cannot be deleted stays."""
    shutil.rmtree(folder, ignore_errors=True)
    if os.path.lexists(folder):
        locked = [str(folder)]
        while locked:
            with contextlib.suppress(OSError):
                path = locked.pop()
                Path(path).chmod(0o700)
                locked += [entry.path for entry in os.scandir(path) if entry.is_dir(follow_symlinks=False)]
        shutil.rmtree(folder, ignore_errors=True)


def take_over(made: Path, file: Path) -> None:
    """Move a file out of a folder that others could write in, and that nobody writes in any more.

    Raises:
        OSError: There is no such file, or it is not a plain one: a link could lead to anything.
    """
    found = made.lstat()
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1:
        raise OSError(f"{made.name} is not a plain file")
    shutil.move(made, file)
