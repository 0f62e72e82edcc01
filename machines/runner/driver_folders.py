"""The folders of driver and browser, in which nothing may stay that an Attempt has had them write.

Playwright's driver notes things for itself, and the browser keeps downloads. What was there when the Machine got ready
stays; all else is deleted after each Attempt. Only the browser's profile is left to the browser: a browser into which
user code may have written something itself is not used again (see `relay`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
from pathlib import Path
from typing import Any

from .folders import DOWNLOADS, DRIVER, HOME, TEMPORARY

_PROFILE = "playwright_chromiumdev_profile-"
"""Start of the name that Playwright gives to the folder with the browser's profile."""

_Names = dict[str, Any]
"""Names in a folder, each with the names in it; with none, if it is no folder."""


class DriverFolders:
    """These folders of one Machine. This blocks, as all its methods do."""

    def __init__(self, scratch: Path) -> None:
        """Take note of what is there now. Raises OSError."""
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
