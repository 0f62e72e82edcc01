"""Playwright's traces, made fit to be shown: known secrets masked, and of this host the sources of the project only.

A trace is a zip: events as JSON, a line each (`*.trace`, `*.network`); the stacks of the calls (`*.stacks`); what the
snapshots are drawn from (`resources/`); pictures (`screencast/`); sources, named by the hash of their path (`src/`).
It was written in the process of user code, so it may hold anything.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
import time
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any

from machines.trace_events import EventMasker, secrets_of_network
from security.masking import Masker

_UNPACKED = 16
"""How many times its size a trace may have when it is unpacked: snapshots are repetitive, but not without end."""
_BLOCK = 1024 * 1024
_WHOLE = 8 * 1024 * 1024
"""Bytes of a resource up to which it is masked as a whole."""
_EVENTS = (".trace", ".network")
_STACKS = ".stacks"
_NAME = re.compile(r"[\w.@ -]+(?:/[\w.@ -]+)?")
"""What names of entries look like."""


class TraceError(Exception):
    """It cannot be shown; the message is a sentence."""


@dataclass(frozen=True)
class Showing:
    """How traces are made fit to be shown."""

    masker: Masker
    limit: int
    """Bytes of what is written."""
    root: str | None = None
    """The folder of the project's copy that the Attempt ran in. None: it is not known, and no sources are shown."""
    cookies: bool = False
    """Cookies of the Attempt are secrets, unless it shows that the page's own scripts may read them."""


def show(parts: Sequence[Path], target: Path, how: Showing, *, end: float) -> None:
    """Write one trace to `target` out of those of the Attempt's contexts. Blocking.

    Args:
        parts: The zip files. Each becomes one context in the viewer.
        target: Is made; what is there after an error is not a trace.
        how: See there.
        end: When to give up, by `time.monotonic`.

    Raises:
        TraceError: One of them is none, or the whole is bigger than allowed.
        TimeoutError: It has taken too long.
        OSError: The disk failed.
    """
    try:
        with ExitStack() as opened:
            # Never what is there already: user code could have put it there, as a link to anywhere.
            out = opened.enter_context(zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=3))
            files = [opened.enter_context(_regular(part)) for part in parts]
            _Writer(out, how, end).write([opened.enter_context(zipfile.ZipFile(file)) for file in files])
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, RuntimeError, EOFError) as error:
        raise TraceError("What the Machine left is no trace.") from error


def _regular(path: Path) -> IO[bytes]:
    """Opened, if it is a file and no link or device: user code could have put anything there."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise TraceError("What the Machine left cannot be read.") from error
    file = os.fdopen(descriptor, "rb")
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        file.close()
        raise TraceError("What the Machine left is no file.")
    return file


class _Writer:
    """Writes one trace."""

    def __init__(self, out: zipfile.ZipFile, how: Showing, end: float) -> None:
        self._out = out
        self._how = how
        self._end = end
        self._masker = how.masker
        self._events = EventMasker(how.masker)
        self._written: set[str] = set()

    def write(self, parts: Sequence[zipfile.ZipFile]) -> None:
        if sum(entry.file_size for part in parts for entry in part.infolist()) > self._how.limit * _UNPACKED:
            raise TraceError(f"Unpacked it is more than {_UNPACKED} times as big as the {self._how.limit} bytes kept.")
        found = {
            secret
            for part in parts
            for entry in part.infolist()
            if entry.filename.endswith(".network")
            for secret in secrets_of_network(self._lines(part, entry), cookies=self._how.cookies)
        }
        if found:
            self._masker = self._how.masker.also(found)
            self._events = EventMasker(self._masker)
        for number, part in enumerate(parts):
            self._write_part(part, f"{number}-" if number else "")

    def _write_part(self, part: zipfile.ZipFile, prefix: str) -> None:
        sources: dict[str, str] = {}
        entries = part.infolist()
        # The stacks first: they tell which sources are whose.
        for entry in (one for one in entries if one.filename.endswith(_STACKS)):
            sources |= self._write_stacks(part, entry, prefix)
        for entry in entries:
            name = entry.filename
            if name.endswith(_STACKS) or not _NAME.fullmatch(name):
                continue
            if name.endswith(_EVENTS):
                self._write_blocks(prefix + name, self._masked_lines(part, entry))
            elif name.startswith("src/"):
                if (shown := sources.get(name)) is not None:
                    self._write_blocks(shown, [self._masker.raw(part.read(entry))])
            elif name.startswith("screencast/"):
                self._write_blocks(name, self._blocks(part, entry), packed=True)
            else:
                self._write_blocks(name, self._masked_resource(part, entry))

    def _write_stacks(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo, prefix: str) -> dict[str, str]:
        """Write the frames of the project, by relative paths; where its sources lie, and are to lie."""
        try:
            told: dict[str, Any] = json.loads(part.read(entry))
            shown = {number: path for number, path in enumerate(told["files"]) if self._in_project(path)}
            relative = {number: self._relative(path) for number, path in shown.items()}
            places = {number: place for place, number in enumerate(relative)}
            stacks = [
                [call, shown_frames]
                for call, frames in told["stacks"]
                if (shown_frames := [[places[number], *frame] for number, *frame in frames if number in places])
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise TraceError("What the Machine left is no trace: its stacks cannot be read.") from error
        text = json.dumps({"files": list(relative.values()), "stacks": stacks})
        self._write_blocks(prefix + entry.filename, [self._masker.raw(text.encode())])
        return {_source(path): _source(relative[number]) for number, path in shown.items()}

    def _in_project(self, path: object) -> bool:
        return isinstance(path, str) and self._how.root is not None and path.startswith(f"{self._how.root}/")

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._how.root}/")

    def _write_blocks(self, name: str, blocks: Iterator[bytes] | Sequence[bytes], *, packed: bool = False) -> None:
        if name in self._written:  # a resource that two contexts share
            return
        self._written.add(name)
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        with self._out.open(info, "w", force_zip64=True) as file:
            self._check()
            for block in blocks:
                file.write(block)
                self._check()

    def _check(self) -> None:
        if time.monotonic() > self._end:
            raise TimeoutError
        if self._out.fp is not None and self._out.fp.tell() > self._how.limit:
            raise TraceError(f"It is bigger than the {self._how.limit} bytes that are kept (CALLBOARD_TRACE_LIMIT).")

    def _lines(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with part.open(entry) as file:
            yield from file

    def _masked_lines(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """Many at a time: most have nothing to be masked, and that is seen at once."""
        with part.open(entry) as file:
            while lines := file.readlines(_BLOCK):
                yield self._events.masked(lines, self._how.root)

    def _blocks(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with part.open(entry) as file:
            while block := file.read(_BLOCK):
                yield block

    def _masked_resource(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        if entry.file_size <= _WHOLE:
            data = part.read(entry)
            yield self._masker.raw(data) if _is_text(data) else self._masker.blotted(data)
            return
        # In windows that overlap: whatever is written has been seen with as much before and behind it as a secret has.
        reach, window, done = self._masker.reach, b"", 0
        for block in self._blocks(part, entry):
            window += block
            ready = len(window) - reach
            if ready > done:
                yield self._masker.blotted(window)[done:ready]
                cut = max(ready - reach, 0)
                window, done = window[cut:], ready - cut
        yield self._masker.blotted(window)[done:]


def _source(path: str) -> str:
    """Where the viewer looks for the source of `path`."""
    return f"src/{hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()}{PurePosixPath(path).suffix}"


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def parts_in(folder: Path) -> list[Path]:
    """The traces that a Machine has left in a folder, in the order in which their contexts were opened."""
    return sorted(folder.glob("trace-*.zip"), key=lambda path: (len(path.name), path.name))
