"""The folder of an Attempt: a copy of the project to read and write in, temporary files, and a home.

It is removed after the Attempt; or, if nothing in it was touched, as is usual, the next Attempt uses it. To make and
remove a dozen files for each Attempt costs milliseconds, and more and more of them on ext4: to make a file, ext4 passes
over all that were removed in the last minutes.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

from .loading import forget_modules
from .removal import remove

CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE, which Python has no name for.

Linux takes the times of files from this clock, which moves every few milliseconds.
"""


class _State(NamedTuple):
    """What differs after any change of a file or folder: the time of the last change cannot be set back."""

    device: int
    number: int
    size: int
    changed_at: int
    """Time of the last change (`st_ctime_ns`) in nanoseconds."""


class Workspace:
    """One Attempt's folder, and the process state (working folder, environment, import path) that points to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.root = folder / "project"
        self._before: tuple[str, dict[str, str], list[str], int] | None = None
        self._made: dict[str, _State] = {}
        """State of every file and folder in it, as it was made."""
        self._changes_show = False

    @classmethod
    def prepare(cls, project: Path, folder: Path) -> Workspace:
        """Make a workspace with a copy of the project, with its compiled files, so that nothing is compiled again."""
        workspace = cls(folder)
        shutil.copytree(project, workspace.root, symlinks=True)
        for name in ("tmp", "home"):
            (folder / name).mkdir()
        workspace._made = _states(folder)
        return workspace

    def enter(self) -> None:
        """Set working folder, `TMPDIR` and `HOME` to the workspace, and put the project first on the import path."""
        self._before = (str(Path.cwd()), dict(os.environ), list(sys.path), _umask())
        # A file that is changed before this clock has moved on keeps its time, so the change would not show.
        now = time.clock_gettime_ns(CLOCK_OF_FILES)
        self._changes_show = all(state.changed_at < now for state in self._made.values())
        os.chdir(self.root)
        os.environ["TMPDIR"] = str(self._folder / "tmp")
        os.environ["HOME"] = str(self._folder / "home")
        tempfile.tempdir = None
        sys.path.insert(0, str(self.root))

    def leave(self) -> None:
        """Undo `enter`, whatever user code did to the same state, and forget the project's modules."""
        if self._before is None:
            return
        folder, environment, path, umask = self._before
        os.umask(umask)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        tempfile.tempdir = None
        sys.path[:] = path
        forget_modules(self.root)

    def is_as_made(self) -> bool:
        """Tell whether the Attempt that has left it has touched nothing in it, and has nothing of it open."""
        if not self._changes_show or _holds_open(self._folder):
            return False
        try:
            return _states(self._folder) == self._made
        except OSError:
            return False

    def remove(self) -> None:
        """Delete the folder. What cannot be deleted goes with the Machine's scratch folder."""
        remove(self._folder)


def empty(folder: Path) -> None:
    """Delete everything in the folder, if the folder exists."""
    for name in os.listdir(folder) if folder.is_dir() else ():  # noqa: PTH208  # names are all that is needed
        remove(folder / name)
        with contextlib.suppress(OSError):
            (folder / name).unlink()


def _states(folder: Path) -> dict[str, _State]:
    """Return the state of the folder and everything in it, by path. Raises OSError."""
    found: dict[str, _State] = {}
    folders = [str(folder)]
    while folders:
        place = folders.pop()
        found[place] = _state(os.lstat(place))
        with os.scandir(place) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                else:
                    found[entry.path] = _state(entry.stat(follow_symlinks=False))
    return found


def _state(stat: os.stat_result) -> _State:
    return _State(stat.st_dev, stat.st_ino, stat.st_size, stat.st_ctime_ns)


def _holds_open(folder: Path) -> bool:
    """Tell whether this process has a file in it open: what was written may not have reached the file yet."""
    for descriptor in os.listdir("/proc/self/fd"):  # noqa: PTH208  # names are all that is needed
        with contextlib.suppress(OSError):  # the descriptor of this listing itself is gone
            if os.readlink(f"/proc/self/fd/{descriptor}").startswith(f"{folder}/"):  # noqa: PTH115
                return True
    return False


def _umask() -> int:
    """Return the umask, which can only be read by setting it."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
