"""Write local files so that nobody ever sees half of one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp-"
"""Prefix of the names of temporary files."""


def replace_file(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` write a new file beside `target` and move it there; on a failure, no temporary file is left."""
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        fill(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
