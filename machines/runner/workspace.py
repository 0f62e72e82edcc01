"""The folder of an Attempt: a copy of the project to read and write in, temporary files, a home, and evidence.

The last is for what a process of user code saves of a context that the project's hook has brought.

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

from .removal import remove

CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE, which Python has no name for.

Linux takes the times of files from this clock, which moves every few milliseconds.
"""


EVIDENCE = "evidence"
"""Name of the folder, in a workspace, for evidence that the process of user code saves."""
_FOLDERS = ("tmp", "home", EVIDENCE)


class _State(NamedTuple):
    """What differs after any change of a file or folder: the time of the last change cannot be set back."""

    device: int
    number: int
    size: int
    changed_at: int
    """Time of the last change (`st_ctime_ns`) in nanoseconds."""


class Workspace:
    """One Attempt's folder. The supervisor makes and removes it; the process of user code enters it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.root = folder / "project"
        self._made: dict[str, _State] = {}
        """State of every file and folder in it, as it was made."""
        self._changes_show = False

    @classmethod
    def prepare(cls, project: Path, folder: Path) -> Workspace:
        """Make a workspace with a copy of the project, with its compiled files, so that nothing is compiled again."""
        workspace = cls(folder)
        shutil.copytree(project, workspace.root, symlinks=True)
        for name in _FOLDERS:
            (folder / name).mkdir()
        workspace._made = _states(folder)
        return workspace

    def begin(self) -> None:
        """Take note that user code is about to enter it."""
        # A file that is changed before this clock has moved on keeps its time, so the change would not show.
        now = time.clock_gettime_ns(CLOCK_OF_FILES)
        self._changes_show = all(state.changed_at < now for state in self._made.values())

    def is_as_made(self) -> bool:
        """Tell whether the Attempt has touched nothing in it. Its processes must have ended."""
        if not self._changes_show:
            return False
        try:
            return _states(self.folder) == self._made
        except OSError:
            return False

    def remove(self) -> None:
        """Delete the folder, so that the next one can be made there.

        What cannot be deleted is put aside, where no Attempt finds it, and goes with the Machine's scratch folder.
        Raises OSError.
        """
        remove(self.folder)
        if os.path.lexists(self.folder):
            self.folder.rename(tempfile.mkdtemp(prefix="left-", dir=self.folder.parents[1]))


def enter(folder: Path) -> Path:
    """Have this process work in a workspace: its working folder, `TMPDIR`, `HOME` and its import path.

    Return the copy of the project in it.
    """
    root = folder / "project"
    set_places(folder)
    os.chdir(root)
    tempfile.tempdir = None
    sys.path.insert(0, str(root))
    return root


def set_places(folder: Path) -> None:
    """Have `TMPDIR` and `HOME` name those of a workspace."""
    os.environ["TMPDIR"] = str(folder / "tmp")
    os.environ["HOME"] = str(folder / "home")


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
