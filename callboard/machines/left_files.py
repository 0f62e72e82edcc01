"""Find and read the files that an Attempt has left, once all processes of user code have ended.

User code has made all of it: names, kinds, sizes and depth. So nothing is opened by a path that could lead elsewhere,
only plain files are read, and files, folders and bytes are counted while they are looked at. A file's size says little:
one of a terabyte may take no disk at all.

All of this blocks.
"""

from __future__ import annotations

import contextlib
import hashlib
import mimetypes
import os
import stat
from collections import defaultdict
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from callboard.machines.runner.folders import BROUGHT, DOWNLOADED, OUTPUT

_MOST_LOOKED_AT = 10_000
"""Most files and folders that are looked at."""
_DEEPEST = 32
"""Most folders within each other that are looked into: each is open meanwhile."""
_LONGEST_NAME = 500
"""Most characters of a file's name with its folders."""
_MOST_NAMED = 5
"""Most files that a sentence names."""
_DOWNLOADS = "downloads"
_ASIDE = "downloads-2"
"""What code's own folder `output/downloads` is called, as downloads of pages are below `downloads`."""
_TOO_LARGE = "it is larger than what is left of the limit for all files of an Attempt (CALLBOARD_FILES_LIMIT)"
_CHUNK = 1024 * 1024
_TYPES = mimetypes.MimeTypes()
"""The types that Python knows of itself: those of this host would differ from one worker to the other."""


class NotKeptError(Exception):
    """A file is not kept; the message is the reason, as the end of a sentence without its period."""


@dataclass(frozen=True)
class FileLimits:
    """How much of what an Attempt leaves is kept."""

    count: int = 100
    size: int = 100 * 1024 * 1024
    """Most bytes of all its files together."""


@dataclass(frozen=True)
class LeftFile:
    """A file that an Attempt has left, under the name by which people find it."""

    name: str
    """Its name, with slashes: `report.pdf`, `downloads/prices.csv`."""
    path: tuple[str, ...]
    """Where it is, as user code has named it: folders, then the file."""

    @property
    def content_type(self) -> str:
        """The media type that its name suggests."""
        kind, encoding = _TYPES.guess_type(self.name)
        return kind if kind is not None and encoding is None else "application/octet-stream"


@dataclass
class LeftFiles:
    """The files that an Attempt has left, and those that are not kept."""

    files: list[LeftFile] = field(default_factory=list[LeftFile])
    _not_kept: defaultdict[str, list[str]] = field(default_factory=lambda: defaultdict[str, list[str]](list))
    """Names by the reason."""

    def miss(self, name: str, reason: str) -> None:
        """Note that a file is not kept."""
        self._not_kept[reason].append(name)

    @property
    def missing(self) -> str | None:
        """What is not kept and why, in sentences; None if all is."""
        sentences: list[str] = []
        for reason, names in self._not_kept.items():
            more = f" … and {len(names) - _MOST_NAMED:,} more" if len(names) > _MOST_NAMED else ""
            sentences.append(f"{', '.join(names[:_MOST_NAMED])}{more}: {reason}.")
        return " ".join(sentences) or None


def find_left_files(folder: Path, limits: FileLimits, mask: Callable[[str], str] = str) -> LeftFiles:
    """Return what is in the folder `FILES` of an Attempt's evidence; nothing if there is no such folder.

    `mask` is applied to names, as they are shown.
    """
    found = LeftFiles()
    walk = _Walk(found, limits, mask)
    for place, prefix in ((DOWNLOADED, (_DOWNLOADS,)), (BROUGHT, (_DOWNLOADS,)), (OUTPUT, ())):
        try:
            with _opened(folder) as root, _opened(place, root) as handle:
                walk.look(handle, (place,), prefix)
        except FileNotFoundError:
            continue
        except OSError as error:
            found.miss(f"{place}/", f"it cannot be read ({error.strerror})")
    if walk.looked_at > _MOST_LOOKED_AT:
        found.miss("What else there is", f"of an Attempt, {_MOST_LOOKED_AT:,} files and folders are looked at")
    return found


def copy_left_file(folder: Path, file: LeftFile, copy: Path, most: int) -> tuple[int, str]:
    """Copy a file to `copy`, which must not exist yet. Return how many bytes it has, and their SHA-256 in hexadecimal.

    Raises:
        NotKeptError: It is no plain file, or has more than `most` bytes; nothing is left of the copy.
        OSError: It cannot be read, or its copy not be written; nothing is left of it.
    """
    with contextlib.ExitStack() as handles:
        handle = handles.enter_context(_opened(folder))
        *above, last = file.path
        for part in above:
            handle = handles.enter_context(_opened(part, handle))
        # A pipe would be waited for, but for O_NONBLOCK.
        descriptor = os.open(last, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=handle)
        source = handles.enter_context(os.fdopen(descriptor, "rb", buffering=0))
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise NotKeptError("only plain files are kept")
        if status.st_size > most:
            raise NotKeptError(_TOO_LARGE)
        size, digest = 0, hashlib.sha256()
        try:
            with copy.open("xb") as target:
                while chunk := source.read(_CHUNK):
                    size += len(chunk)
                    if size > most:
                        raise NotKeptError(_TOO_LARGE)
                    digest.update(chunk)
                    target.write(chunk)
        except BaseException:  # whatever ends this, no half of a copy stays
            copy.unlink(missing_ok=True)
            raise
    return size, digest.hexdigest()


class _Walk:
    """A walk through what an Attempt has left, over all its folders."""

    def __init__(self, found: LeftFiles, limits: FileLimits, mask: Callable[[str], str]) -> None:
        self._found = found
        self._limits = limits
        self._mask = mask
        self._names: set[str] = set()
        self.looked_at = 0

    def look(self, folder: int, path: tuple[str, ...], names: tuple[str, ...]) -> None:
        """Look into an open folder, which is at `path` and shown as `names`."""
        files: list[str] = []
        folders: list[str] = []
        with os.scandir(folder) as entries:
            for entry in entries:
                self.looked_at += 1
                if self.looked_at > _MOST_LOOKED_AT:
                    break
                (folders if entry.is_dir(follow_symlinks=False) else files).append(entry.name)
        for name in sorted(files):
            self._add(folder, (*path, name), (*names, name))
        for name in sorted(folders):
            if len(path) > _DEEPEST:
                self._found.miss("/".join(map(_clean, (*names, name))), f"it is more than {_DEEPEST} folders deep")
                continue
            shown = (_ASIDE,) if not names and name == _DOWNLOADS else (*names, name)
            try:
                with _opened(name, folder) as handle:
                    self.look(handle, (*path, name), shown)
            except OSError as error:
                self._found.miss("/".join(map(_clean, shown)), f"it cannot be read ({error.strerror})")

    def _add(self, folder: int, path: tuple[str, ...], names: tuple[str, ...]) -> None:
        name = self._mask("/".join(map(_clean, names)))
        try:
            status = os.lstat(path[-1], dir_fd=folder)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode):
            self._found.miss(name, "only plain files are kept")
        elif status.st_size > self._limits.size:
            self._found.miss(name, _TOO_LARGE)
        elif len(name) > _LONGEST_NAME:
            self._found.miss(f"{name[:_LONGEST_NAME]}…", f"its name has more than {_LONGEST_NAME} characters")
        elif len(self._found.files) >= self._limits.count:
            self._found.miss(name, f"of an Attempt, {self._limits.count} files are kept (CALLBOARD_FILES_COUNT)")
        else:
            number = 1
            while _numbered(name, number) in self._names:
                number += 1
            self._names.add(_numbered(name, number))
            self._found.files.append(LeftFile(_numbered(name, number), path))


def _clean(part: str) -> str:
    """Return the name of a file or folder without what cannot be shown, or would be a way elsewhere for somebody."""
    return "".join(char if char.isprintable() and char != "\\" else "_" for char in part)


def _numbered(name: str, number: int) -> str:
    """Return the name of file `number` of those with this name: `a.csv`, then `a-2.csv`."""
    stem, suffix = os.path.splitext(name)  # noqa: PTH122  # it is no path of this host
    return name if number == 1 else f"{stem}-{number}{suffix}"


@contextmanager
def _opened(folder: str | Path, within: int | None = None) -> Generator[int]:
    """Open a folder, but no link. Raises OSError."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    try:
        yield handle
    finally:
        os.close(handle)
