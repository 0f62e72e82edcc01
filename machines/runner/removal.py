"""Delete folders that user code could write in.

This module uses the standard library alone, as a Machine's keeper and its child need it.
"""

from __future__ import annotations

import contextlib
import os
import shutil
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
