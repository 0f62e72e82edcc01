"""Writing a local file so that nobody ever sees half of it."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from pathlib import Path

TEMPORARY = ".tmp-"
"""How names of temporary files begin."""


def replace_file(target: Path, fill: Callable[[Path], None]) -> None:
    """Let `fill` make a new file beside `target` and move it there; whatever fails, no temporary file is left."""
    temporary = target.parent / f"{TEMPORARY}{uuid.uuid4().hex}"
    try:
        fill(temporary)
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
