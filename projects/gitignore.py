"""Which files of a project its `.gitignore` files leave out, as git has it (docs/contract.md, section 2).

Only files in the project's own folder count, so that the same folder is the same version everywhere: neither those of
the folders above it, nor what git is configured to ignore besides.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache
from pathlib import Path, PurePosixPath

from pathspec import GitIgnoreSpec

GITIGNORE = ".gitignore"

_EVERYTHING_BELOW = re.compile(r"/\*\*\s*$")


def is_ignored(root: Path, path: str, *, folder: bool) -> bool:
    """Tell whether a `.gitignore` in the project folder `root` leaves out a file or folder of it.

    It says nothing about the folders that the path lies in: whatever is below one that is left out is left out, too.

    Raises:
        OSError: A `.gitignore` cannot be read.
    """
    for above in PurePosixPath(path).parents:  # the nearest file decides
        spec = _read(root / above / GITIGNORE)
        inside = PurePosixPath(path).relative_to(above).as_posix()
        if spec is not None and (ignored := spec.check_file(f"{inside}/" if folder else inside).include) is not None:
            return ignored
    return False


def _read(file: Path) -> GitIgnoreSpec | None:
    try:
        status = file.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _parse(file, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=256)
def _parse(file: Path, _changed_at: int, _size: int) -> GitIgnoreSpec:
    lines = os.fsdecode(file.read_bytes()).splitlines()
    # To git, `logs/**` is all that is in logs, as `logs/*` is; to the library, it is the folder itself, too.
    return GitIgnoreSpec.from_lines(_EVERYTHING_BELOW.sub("/*", line) for line in lines if _is_pattern(line))


def _is_pattern(line: str) -> bool:
    """Tell whether the line means anything: git passes over lines that do not, such as `!` alone."""
    try:
        GitIgnoreSpec.from_lines([line])
    except ValueError:
        return False
    return True
