"""Write local files so that nobody ever sees half of one."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY_PREFIX = ".tmp-"
"""Prefix of the names of temporary files."""


def replace_file(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` fill a new file beside `target`, then move it there; a failure leaves no temporary file."""
    temporary = target.parent / f"{TEMPORARY_PREFIX}{uuid.uuid4().hex}"
    try:
        write(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
