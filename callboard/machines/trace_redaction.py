"""Redact Playwright's traces: mask known secrets, and keep of this host's files only the sources of the project.

A trace is a zip: events as JSON, a line each (`*.trace`, `*.network`); the stacks of the calls (`*.stacks`); what the
snapshots are drawn from (`resources/`); pictures (`screencast/`); sources, named by the hash of their path (`src/`).
The process of user code has written it, so it may hold anything. It is therefore read in pieces, and what it can make
its reader hold or do is bounded in terms of the size that is kept.

As a script, this is a process that masks traces, one after another, so that no trace can use up a worker's memory or
its time. What user code has left may unpack to a thousand times its size, and its JSON to twenty times that. The kernel
bounds the process: it may use no more memory than `_MEMORY`, and no more time for one trace than the request allows.
It runs on the standard library alone; `trace_redactor` is the worker's side.

    stdin   one JSON object a line, a request: {"folder", "target", "secrets", "limit", "root", "cookies", "seconds"}.
            At its end, the process ends.
    stdout  one JSON object a line, the answer: {"found": bool, "picture": [begin, size] or null} (whether there were
            traces in the folder, and where the last picture of the film lies in the one that was written), or the
            error: {"trace": sentence}, {"disk": [errno, text]}.
"""

from __future__ import annotations

import errno
import hashlib
import io
import json
import os
import re
import resource
import signal
import stat
import struct
import sys
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, cast

if __name__ == "__main__":
    # A script can import our packages from this folder, after the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[2]))

from callboard.machines.scheduling import give_way
from callboard.security.inspection import forbid_inspection
from callboard.security.masking import Masker

_DRIVER = b"/driver/package/"
"""Part of the paths by which stacks of Playwright's driver are recognized."""
_VIEWERS = frozenset({"type", "class", "method", "callId", "parentId", "pageId", "frameId", "phase", "file", "version"})
"""Fields that the viewer relies on, which are not masked.

They hold no secrets, but a word of the viewer's own can also be somebody's password.
"""
_CREDENTIALS = re.compile(r"\S+\s+(\S.*)", re.DOTALL)
_MEMORY = 512 * 1024 * 1024
"""Most bytes of address space.

An ordinary trace is masked in 30 MiB. With 64 MiB that are kept, one event may take 440 MiB.
"""
_UNPACKED = 16
"""Most times the kept size that an unpacked trace may have.

Playwright's events and snapshots are repetitive, but the Machine gives up a trace that grows to four times the kept
size before it is packed.
"""
_LARGEST_ENTRY = 8
"""Most times the kept size that one unpacked entry may have."""
_LONGEST_LINE = 8
"""Divisor of the kept size that gives the most bytes of one event.

A line is parsed as a whole, and JSON grows in memory to some twenty times its size. A snapshot of a large page has one
or two MiB.
"""
_LONGEST_LINE_AT_LEAST = 1024 * 1024
"""Bytes that an event may always have: pages do not get smaller where the kept size is smaller."""
_BYTES_OF_AN_ENTRY = 1024
"""Number of kept bytes for which a trace may have one entry: few entries are smaller, and each takes memory."""
_ENTRIES_AT_LEAST = 1000
_MOST_CONTEXTS = 500
"""Most contexts of an Attempt: each is a file that is open while they are merged into one trace."""
_METHODS = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED})
"""Compression methods that Playwright uses. With others, `zipfile` may unpack a few bytes to any size at once."""
_BLOCK = 1024 * 1024
_WHOLE = 8 * 1024 * 1024
"""Most bytes of a resource that is masked as a whole."""
_PICTURE = re.compile(r"screencast/.*-(\d{1,15})\.jpeg")
"""Pattern of the names of a film's pictures, which end with the time in milliseconds."""
_LARGEST_PICTURE = 1024 * 1024
"""Most bytes of a picture that is told of: some twenty times the size of a usual one."""
_JPEG = b"\xff\xd8\xff"
_EVENTS = (".trace", ".network")
_STACKS = ".stacks"
_NAME = re.compile(r"[\w.@ -]+(?:/[\w.@ -]+)?")
"""Pattern of the names that entries may have."""


class TraceError(Exception):
    """The trace cannot be shown. The message is a sentence that says why."""


@dataclass(frozen=True)
class RedactionOptions:
    """Options for the redaction of a trace."""

    masker: Masker
    limit: int
    """Most bytes of the trace that is written."""
    root: str | None = None
    """Folder of the project's copy that the Attempt ran in. None: it is not known, and no sources are shown."""
    cookies: bool = False
    """Whether cookies are secrets, except those that the trace shows to be readable by the page's own scripts."""


def redact(parts: Sequence[Path], target: Path, options: RedactionOptions) -> tuple[int, int] | None:
    """Write one redacted trace to `target` from those of the Attempt's contexts. This blocks.

    Return the first byte and the size of the film's last picture in `target`; None if there is none.

    Args:
        parts: The zip files. Each becomes one context in the viewer.
        target: The file to create. What is there after an error is not a trace.
        options: The options of the redaction.

    Raises:
        TraceError: One of the files is no trace, or is bigger than allowed in any way.
        OSError: The disk failed.
    """
    if len(parts) > _MOST_CONTEXTS:
        raise TraceError(f"It is of {len(parts)} contexts. A trace of at most {_MOST_CONTEXTS} is kept.")
    try:
        with ExitStack() as opened:
            # Never open a file that is there already: user code could have put it there, as a link to anywhere.
            out = opened.enter_context(zipfile.ZipFile(target, "x", zipfile.ZIP_DEFLATED, compresslevel=3))
            files = [opened.enter_context(_regular(part)) for part in parts]
            writer = _Writer(out, options)
            writer.write([opened.enter_context(zipfile.ZipFile(file)) for file in files])
            return writer.picture
    except (zipfile.BadZipFile, zlib.error, struct.error, NotImplementedError, RuntimeError, ValueError, EOFError) as e:
        raise TraceError("What the Machine left is no trace.") from e
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # The archive says that something in it lies before its beginning.
        raise TraceError("What the Machine left is no trace.") from error
    except MemoryError as error:
        raise TraceError("It takes more memory to read than a trace may take.") from error


def _regular(path: Path) -> IO[bytes]:
    """Open the file; refuse what is a link or device, as user code could have put anything there."""
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
    """Writer of one redacted trace."""

    def __init__(self, out: zipfile.ZipFile, how: RedactionOptions) -> None:
        self._out = out
        self._how = how
        self._longest_line = max(_LONGEST_LINE_AT_LEAST, how.limit // _LONGEST_LINE)
        self._masker = how.masker
        self._events = EventMasker(how.masker)
        self._written: set[str] = set()
        self.picture: tuple[int, int] | None = None
        """Where the last picture of the film lies in what is written: its first byte, and its size."""
        self._picture_time = 0

    def write(self, parts: Sequence[zipfile.ZipFile]) -> None:
        self._check_entries([entry for part in parts for entry in part.infolist()])
        found = {
            secret
            for part in parts
            for entry in part.infolist()
            if entry.filename.endswith(".network")
            for secret in secrets_of_network(self._lines(part, entry), cookies=self._how.cookies)
        }
        if found:
            self._masker = self._how.masker.with_secrets(found)
            self._events = EventMasker(self._masker)
        for number, part in enumerate(parts):
            self._write_part(part, f"{number}-" if number else "")

    def _check_entries(self, entries: Sequence[zipfile.ZipInfo]) -> None:
        """Refuse a trace that is too big to read. No more of an entry is read than the size that is checked here."""
        limit = self._how.limit
        most = max(_ENTRIES_AT_LEAST, limit // _BYTES_OF_AN_ENTRY)
        if len(entries) > most:
            raise TraceError(f"It has {len(entries)} entries. With {limit} bytes kept, it may have {most}.")
        if sum(entry.file_size for entry in entries) > limit * _UNPACKED:
            raise TraceError(f"Unpacked it is more than {_UNPACKED} times as big as the {limit} bytes kept.")
        if any(entry.file_size > limit * _LARGEST_ENTRY for entry in entries):
            raise TraceError(f"An entry has more than {_LARGEST_ENTRY} times the {limit} bytes that are kept.")
        if any(entry.compress_type not in _METHODS for entry in entries):
            raise TraceError("What the Machine left is no trace: it is not packed as Playwright packs.")

    def _write_part(self, part: zipfile.ZipFile, prefix: str) -> None:
        sources: dict[str, str] = {}
        entries = part.infolist()
        # The stacks come first: they tell which sources are the project's.
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
                    self._write_blocks(shown, self._masked_resource(part, entry))
            elif name.startswith("screencast/"):
                self._write_picture(part, entry)
            else:
                self._write_blocks(name, self._masked_resource(part, entry))

    def _write_stacks(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo, prefix: str) -> dict[str, str]:
        """Write the stacks with only the frames of the project, by relative paths.

        Return where the sources of these frames lie in the trace, mapped to where they are to be written.
        """
        self._check_length(entry.file_size)
        try:
            content: dict[str, Any] = json.loads(part.read(entry))
            shown = {number: path for number, path in enumerate(content["files"]) if self._in_project(path)}
            relative = {number: self._relative(path) for number, path in shown.items()}
            places = {number: place for place, number in enumerate(relative)}
            stacks = [
                [call, shown_frames]
                for call, frames in content["stacks"]
                if (shown_frames := [[places[number], *frame] for number, *frame in frames if number in places])
            ]
        except (ValueError, KeyError, TypeError) as error:
            raise TraceError("What the Machine left is no trace: its stacks cannot be read.") from error
        text = json.dumps({"files": list(relative.values()), "stacks": stacks})
        self._write_blocks(prefix + entry.filename, [self._masker.mask_bytes(text.encode())])
        return {_source(path): _source(relative[number]) for number, path in shown.items()}

    def _in_project(self, path: object) -> bool:
        return isinstance(path, str) and self._how.root is not None and path.startswith(f"{self._how.root}/")

    def _relative(self, path: str) -> str:
        return path.removeprefix(f"{self._how.root}/")

    def _write_picture(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> None:
        """Write a picture as it is, and note where it lies if it is the last one so far."""
        named = _PICTURE.fullmatch(entry.filename)
        if named is None or entry.file_size > _LARGEST_PICTURE or int(named[1]) < self._picture_time:
            self._write_blocks(entry.filename, self._blocks(part, entry), packed=True)
            return
        data = part.read(entry)
        begin = self._write_blocks(entry.filename, [data], packed=True)
        if begin is not None and data.startswith(_JPEG):
            self.picture, self._picture_time = (begin, len(data)), int(named[1])

    def _write_blocks(
        self, name: str, blocks: Iterator[bytes] | Sequence[bytes], *, packed: bool = False
    ) -> int | None:
        """Write an entry, and return where its bytes begin in the zip; None if it was written before."""
        if name in self._written:  # it is a resource that two contexts share
            return None
        self._written.add(name)
        info = zipfile.ZipInfo(name)
        info.compress_type = zipfile.ZIP_STORED if packed else zipfile.ZIP_DEFLATED
        with self._out.open(info, "w", force_zip64=True) as file:
            begin = self._check()
            for block in blocks:
                file.write(block)
                self._check()
        return begin

    def _check(self) -> int:
        """Return how many bytes are written. Raises TraceError if these are more than are kept."""
        written = 0 if self._out.fp is None else self._out.fp.tell()
        if written > self._how.limit:
            raise TraceError(f"It is bigger than the {self._how.limit} bytes that are kept (CALLBOARD_TRACE_LIMIT).")
        return written

    def _check_length(self, length: int) -> None:
        if length > self._longest_line:
            raise TraceError(f"An event has more than {self._longest_line} bytes, which is too long to be masked.")

    def _lines(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with part.open(entry) as packed, io.BufferedReader(cast("io.RawIOBase", packed), _BLOCK) as file:
            while line := file.readline(self._longest_line + 1):
                self._check_length(len(line))
                yield line

    def _masked_lines(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the masked lines, many at a time: most have nothing to mask, which is found out for all at once."""
        lines: list[bytes] = []
        size = 0
        for line in self._lines(part, entry):
            lines.append(line)
            size += len(line)
            if size >= _BLOCK:
                yield self._events.masked(lines, self._how.root)
                lines, size = [], 0
        if lines:
            yield self._events.masked(lines, self._how.root)

    def _blocks(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        with part.open(entry) as file:
            while block := file.read(_BLOCK):
                yield block

    def _masked_resource(self, part: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
        if entry.file_size <= _WHOLE:
            data = part.read(entry)
            yield self._masker.mask_bytes(data) if _is_text(data) else self._masker.mask_bytes_in_place(data)
            return
        # Mask in overlapping windows: around each byte written, as much has been searched as the longest secret has.
        reach, window, done = self._masker.longest_form, b"", 0
        for block in self._blocks(part, entry):
            window += block
            ready = len(window) - reach
            if ready > done:
                yield self._masker.mask_bytes_in_place(window)[done:ready]
                cut = max(ready - reach, 0)
                window, done = window[cut:], ready - cut
        yield self._masker.mask_bytes_in_place(window)[done:]


def _source(path: str) -> str:
    """Return the name of the entry where the viewer looks for the source of `path`."""
    return f"src/{hashlib.sha1(path.encode(), usedforsecurity=False).hexdigest()}{PurePosixPath(path).suffix}"


def _is_text(data: bytes) -> bool:
    if b"\0" in data:
        return False
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class EventMasker:
    """Masker of a trace's events, which are lines of JSON."""

    def __init__(self, masker: Masker) -> None:
        self._masker = masker

    def masked(self, lines: list[bytes], root: str | None) -> bytes:
        """Return these lines with every secret masked, and without paths of this host."""
        text = b"".join(lines)
        if self._masker.mask_bytes(text) != text or _DRIVER in text:
            text = b"".join(self._line(line) for line in lines)
        return text if root is None else _without(text, root)

    def _line(self, line: bytes) -> bytes:
        if self._masker.mask_bytes(line) == line and _DRIVER not in line:
            return line
        try:
            event: Any = json.loads(line)
            if isinstance(event, dict):
                event = self._event(cast("dict[str, Any]", event))
        except (ValueError, RecursionError):  # the line is cut off or no JSON, or is nested too deeply to be parsed
            return self._masker.mask_bytes(line)
        return json.dumps(event, ensure_ascii=False, separators=(",", ":")).encode(errors="backslashreplace") + b"\n"

    def _event(self, event: dict[str, Any]) -> dict[str, Any]:
        error: Any = event.get("error")
        if isinstance(error, dict) and _DRIVER.decode() in str(cast("dict[str, Any]", error).get("stack")):
            event["error"] = {name: value for name, value in cast("dict[str, Any]", error).items() if name != "stack"}
        return {name: self._value(name, value) for name, value in event.items()}

    def _value(self, name: str, value: Any) -> Any:
        if name in _VIEWERS:
            return value
        if name == "snapshot" and isinstance(value, dict):
            return {inner: self._value(inner, item) for inner, item in cast("dict[str, Any]", value).items()}
        return self._masker.mask_json(value)


def _without(text: bytes, root: str) -> bytes:
    """Return `text` without the paths of the Attempt's folder and of `root`, the project's copy in it."""
    for folder in (root, root.rpartition("/")[0]):
        text = text.replace(json.dumps(f"{folder}/", ensure_ascii=False)[1:-1].encode(), b"")
    return text


def secrets_of_network(lines: Iterable[bytes], *, cookies: bool) -> Iterator[str]:
    """Yield the secrets that a network record shows: the credentials that were sent, and with `cookies` also cookies.

    A cookie is no secret if the record shows that the page's own scripts may read it. The record may not show how a
    cookie was set: what a redirect sets is not always recorded, but what is sent afterwards is.
    """
    sent: set[tuple[str, str]] = set()  # a set, as the same cookies are sent with every request
    readable: set[str] = set()
    for line in lines:
        try:
            snapshot: dict[str, Any] = json.loads(line)["snapshot"]
            for name, value in _headers(snapshot, "request"):
                if name in ("authorization", "proxy-authorization") and (found := _CREDENTIALS.fullmatch(value)):
                    yield found[1]
                elif name == "cookie" and cookies:
                    sent.update(map(_named, value.split(";")))
            for name, value in _headers(snapshot, "response"):
                if name == "set-cookie" and cookies:
                    for cookie in value.split("\n"):
                        pair, *attributes = cookie.split(";")
                        if any(attribute.strip().lower() == "httponly" for attribute in attributes):
                            yield _named(pair)[1]
                        else:
                            readable.add(_named(pair)[0])
        except (ValueError, KeyError, TypeError, AttributeError):  # of another shape: nothing can be found
            continue
    yield from (value for name, value in sent if name not in readable)


def _named(cookie: str) -> tuple[str, str]:
    name, _, value = cookie.partition("=")
    return name.strip(), value.strip().strip('"')


def _headers(snapshot: dict[str, Any], side: str) -> Iterator[tuple[str, str]]:
    for header in snapshot[side]["headers"]:
        yield str(header["name"]).lower(), str(header["value"])


def parts_in(folder: Path) -> list[Path]:
    """Return the traces that a Machine has left in a folder, in the order in which their contexts were opened."""
    return sorted(folder.glob("trace-*.zip"), key=lambda path: (len(path.name), path.name))


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Mask one trace, and return the answer to the request; see the module's docstring for the fields of both."""
    options = RedactionOptions(
        Masker(request["secrets"]), request["limit"], request["root"], cookies=request["cookies"]
    )
    try:
        parts = parts_in(Path(request["folder"]))
        picture = redact(parts, Path(request["target"]), options) if parts else None
    except TraceError as error:
        return {"trace": str(error)}
    except OSError as error:
        return {"disk": [error.errno, error.strerror]}
    return {"found": bool(parts), "picture": picture}


def main() -> None:
    """Serve requests from stdin until it ends; see the module's docstring."""
    give_way()
    forbid_inspection()
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY, _MEMORY))
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        # The worker kills a process that takes too long. If the worker was killed meanwhile, the process ends itself.
        signal.setitimer(signal.ITIMER_REAL, request["seconds"])
        answered = answer(request)
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.write(1, json.dumps(answered).encode() + b"\n")


if __name__ == "__main__":
    main()
