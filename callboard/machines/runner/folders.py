"""The folders in a Machine's scratch folder, which of its boxes they are in, and how each Attempt finds them fresh.

An Attempt works in a folder of its own (`Workspace`): a copy of the project to read and write in, temporary files, a
home, and evidence. A process of user code saves evidence of a context that the project's hook has brought. The folder
is removed after the Attempt. Usually nothing in it was touched: then the next Attempt uses it. To make and remove a
dozen files for each Attempt costs milliseconds, and more and more of them on ext4: to make a file, ext4 passes over all
that were removed in the last minutes.

Nothing that an Attempt has written may stay in the folders of driver and browser (`DriverFolders`). The driver notes
things for itself, and the browser keeps downloads. What was there when the Machine got ready stays; all else is deleted
after each Attempt. Only the browser's profile is left to the browser: a browser into which user code may have written
something itself is not used again (see `relay_policy`).

`callboard.machines.box` makes the boxes. This module uses the standard library alone, as keeper and worker need it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

TEMPORARY = "tmp"
"""Temporary files of all but user code."""
TEMPORARY_IN_BOX = "/tmp"  # noqa: S108  # it is a folder of the Machine's own
"""Path of `TEMPORARY` in the box of driver and browser, where there are namespaces.

The browser has sockets there, and the path of a socket may have 107 bytes at most."""
HOME = "home"
DRIVER = "driver"
"""Where Playwright's driver listens, and notes that it does."""
TRACES = "traces"
"""Traces that grow, and those that were just packed."""
DOWNLOADS = "downloads"
"""What the browser has downloaded; user code can read it."""
WORK = "work"
"""The folder of `ATTEMPT`, which is in the boxes, so that the other can be made anew."""
ATTEMPT = f"{WORK}/attempt"
"""What every Attempt works in. It has the same name for each: what is imported ahead may have kept a path of it."""
OF_DRIVER = (TEMPORARY, HOME, DRIVER, TRACES, DOWNLOADS, WORK)
"""All that driver and browser write in; these folders are there when a Machine starts."""

_PROFILE = "playwright_chromiumdev_profile-"
"""Start of the name that Playwright gives to the folder with the browser's profile."""

_Names = dict[str, Any]
"""Names in a folder, each with the names in it; with none, if it is no folder."""

CLOCK_OF_FILES = 5
"""CLOCK_REALTIME_COARSE, which Python has no name for.

Linux takes the times of files from this clock, which moves every few milliseconds.
"""


EVIDENCE = "evidence"
"""Name of the folder, in a workspace, for evidence that the process of user code saves."""
_FOLDERS = ("tmp", "home", EVIDENCE)
_SHOWN_AS = {"project": "", "tmp": "TMPDIR/", "home": "HOME/"}
"""Folders of a workspace in which user code leaves files, and what stands before their names."""
_NOT_ITS_OWN = re.compile(r"__pycache__/|(tmp|home)/(\.|playwright|org\.chromium)")
"""Files of a workspace that Python, browsers and caches of packages leave, and that nobody misses."""
_LOOKED_FOR = 0.2
"""Seconds in which files are looked for that an Attempt has left; its outcome waits meanwhile."""


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


FILES = "files"
"""Name of the folder, beside an Attempt's trace, for the files that it leaves; the next three are folders in it."""
OUTPUT = "output"
"""What user code has left below `output/` of its working folder."""
BROUGHT = "brought"
"""What pages of a context have downloaded that the project's hook has brought."""
DOWNLOADED = DOWNLOADS
"""What all other pages have downloaded."""
KEPT = f"kept/{DOWNLOADS}"
"""Where that is kept while the Attempt runs: in no box, but where it counts as disk of the Machine."""
_LEFT_IN = {
    OUTPUT: f"{ATTEMPT}/project/output",
    BROUGHT: f"{ATTEMPT}/{EVIDENCE}/{DOWNLOADS}",
    DOWNLOADED: KEPT,
}
"""Where these are in a Machine's scratch folder."""


def take_files(scratch: Path, evidence: Path) -> str | None:
    """Move what an Attempt leaves out of the scratch folder, to the folder `FILES` in `evidence`.

    Its processes must have ended.

    What is in these folders is user code's, and nothing of it is looked at. Return why something cannot be moved, as a
    sentence. A second call does nothing.
    """
    reason = None
    for name, place in _LEFT_IN.items():
        try:
            with contextlib.ExitStack() as handles:
                # A process in the browser's box could have put a link in place of one of these folders.
                folder = handles.enter_context(_opened(str(scratch)))
                *above, last = place.split("/")
                for part in above:
                    folder = handles.enter_context(_opened(part, folder))
                if not stat.S_ISDIR(os.lstat(last, dir_fd=folder).st_mode):
                    reason = f"{last} is no folder, so nothing of it is kept."
                    continue
                (evidence / FILES).mkdir(exist_ok=True)
                os.rename(last, evidence / FILES / name, src_dir_fd=folder)  # it needs the descriptor
        except FileNotFoundError:
            pass  # most Attempts leave nothing there
        except OSError as error:
            reason = f"What is below {place.rpartition('/')[2]}/ cannot be taken over: {error.strerror}."
    return reason


def take_download(scratch: Path, made: Path, kept: Path) -> None:
    """Link a download to where it is kept: the driver's word counts only for its name in the folder of downloads.

    Raises OSError.
    """
    with _opened(str(scratch / DOWNLOADS)) as folder:
        os.link(made.name, kept, src_dir_fd=folder, follow_symlinks=False)


class _State(NamedTuple):
    """What differs after any change of a file or folder: the time of the last change cannot be set back."""

    device: int
    number: int
    size: int
    changed_at: int
    """Time of the last change (`st_ctime_ns`) in nanoseconds."""
    mode: int


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
        """Remember whether changes will show, as user code is about to enter it."""
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

    def unkept_files(self) -> list[tuple[str, int]]:
        """Return the files that the Attempt has written, which go with the folder: their names, and sizes in bytes."""
        deadline = time.monotonic() + _LOOKED_FOR
        real = os.path.realpath(self.folder)
        found: dict[str, int] = {}
        folders = [path for path, state in self._made.items() if stat.S_ISDIR(state.mode) and _is_other(path, state)]
        while folders and time.monotonic() < deadline:  # what is new shows in its folder, and there are few of those
            place = folders.pop()
            with contextlib.suppress(OSError), _opened(place) as handle:
                # A process in the browser's box could have put a link in place of a folder above it.
                if str(Path(f"/proc/self/fd/{handle}").readlink()) == real + place.removeprefix(str(self.folder)):
                    for entry in _entries(handle):
                        path = f"{place}/{entry.name}"
                        if path not in self._made and entry.is_dir(follow_symlinks=False):
                            folders.append(path)
                        elif path not in self._made and entry.is_file(follow_symlinks=False):
                            found[path] = entry.stat(follow_symlinks=False).st_size
        for path, state in self._made.items():
            if time.monotonic() > deadline:
                break
            if stat.S_ISREG(state.mode) and _is_other(path, state):
                with contextlib.suppress(OSError):
                    found[path] = os.lstat(path).st_size
        named = ((_shown_name(path.removeprefix(f"{self.folder}/")), size) for path, size in found.items())
        return sorted((name, size) for name, size in named if name is not None)

    def remove(self) -> None:
        """Delete the folder, so that the next one can be made there.

        What cannot be deleted is put aside, where no Attempt finds it, and goes with the Machine's scratch folder.
        Raises OSError.
        """
        remove(self.folder)
        if os.path.lexists(self.folder):
            self.folder.rename(self.folder.parents[1] / f"left-{time.time_ns()}")


def enter(folder: Path) -> Path:
    """Have this process work in a workspace: its working folder, `TMPDIR`, `HOME` and its import path.

    Return the copy of the project in it.
    """
    root = folder / "project"
    set_places(folder)
    os.chdir(root)
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


def _shown_name(name: str) -> str | None:
    """Return how a file of a workspace is named to people; None if it is not user code's own."""
    place, _, within = name.partition("/")
    return None if place not in _SHOWN_AS or _NOT_ITS_OWN.search(name) else _SHOWN_AS[place] + within


def _state(status: os.stat_result) -> _State:
    return _State(status.st_dev, status.st_ino, status.st_size, status.st_ctime_ns, status.st_mode)


def _is_other(path: str, made: _State) -> bool:
    """Tell whether something is there that is not as it was made."""
    try:
        return _state(os.lstat(path)) != made
    except OSError:
        return False


class DriverFolders:
    """These folders of one Machine. This blocks, as all its methods do."""

    def __init__(self, scratch: Path) -> None:
        """Remember what is there now. Raises OSError."""
        self._kept = {str(scratch / name): _Names() for name in (TEMPORARY, HOME, DRIVER, DOWNLOADS)}
        for folder in self._kept:
            with _opened(folder) as handle:
                self._kept[folder] = _names_in(handle)

    def wipe(self) -> None:
        """Delete all that was not there at first.

        Raises:
            OSError: Something cannot be deleted.
        """
        for folder, kept in self._kept.items():
            with _opened(folder) as handle:
                _wipe(handle, kept)


@contextlib.contextmanager
def _opened(folder: str, within: int | None = None) -> Any:
    """Open a folder, but no link: a process in the box could have put one there that leads out of it."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield handle
    finally:
        os.close(handle)


def _names_in(folder: int) -> _Names:
    names: _Names = {}
    for entry in _entries(folder):
        names[entry.name] = {}
        if _is_looked_into(entry):
            with contextlib.suppress(FileNotFoundError), _opened(entry.name, folder) as handle:
                names[entry.name] = _names_in(handle)
    return names


def _wipe(folder: int, kept: _Names) -> None:
    for entry in _entries(folder):
        with contextlib.suppress(FileNotFoundError):  # the browser has files that it deletes itself
            if entry.name in kept:
                if _is_looked_into(entry):
                    with _opened(entry.name, folder) as handle:
                        _wipe(handle, kept[entry.name])
            elif entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.name, dir_fd=folder)
            else:
                os.unlink(entry.name, dir_fd=folder)  # a path could lead elsewhere


def _entries(folder: int) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        return list(entries)


def _is_looked_into(entry: os.DirEntry[str]) -> bool:
    return entry.is_dir(follow_symlinks=False) and not entry.name.startswith(_PROFILE)
