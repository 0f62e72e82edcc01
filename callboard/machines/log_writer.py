"""Take apart what a Machine prints, and write the log of one Attempt.

Descriptors 1 and 2 of the whole process tree are one pipe, and each of its processes may write anything there. So the
log keeps the order in which things happened, and an automation may put into it what it likes. Between the text are
lines of the log whose level and source are known. They are JSON text sequences (RFC 7464), written by
`callboard.machines.runner.stdio`, which may import nothing of ours:

    0x1E {"level", "source", "message"} newline         with "cut" if the message was too long: the bytes that it had

What looks like that and is none is text. The log is a file with a JSON object for each line, not masked yet, up to a
limit:

    {"timestamp", "level", "source", "message"}, and "cut" as above

Keeper and worker append to the file, each whole lines with one write. This module uses the standard library alone, as
the keeper needs it.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from datetime import UTC, datetime

LEVELS = frozenset({"debug", "info", "warning", "error"})
SOURCES = frozenset({"user", "logging", "console", "page", "network", "callboard"})
"""Sources of log lines.

These are, in this order: what user code prints, and what it logs; the page's console, its uncaught errors, and its
failed requests; and Callboard.
"""
LONGEST = 64 * 1024
"""Most bytes of a message. The rest of it is thrown away."""
_BEGIN, _END = b"\x1e", b"\n"
_LONGEST_LINE = 1024 * 1024
"""Most bytes of a line. Machines write no longer ones."""

_ENDS = re.compile(rb"\r\n|\n|\r")
_ENDS_TO_OTHERS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
"""Characters that do not end a line in JSON, but do in many programs that read line by line; and their escapes."""

Said = tuple[str, str, str, int | None]
"""Level, source and message of a line, and how many bytes the message had before it was cut."""


def line_of(level: str, source: str, message: str, cut: int | None = None) -> bytes:
    """Return one encoded line of a log, with the current time."""
    return _line(_now(), level, source, message, cut)


def encoded(said: dict[str, object]) -> bytes:
    """Encode the fields of one line of a log."""
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        for end, escaped in _ENDS_TO_OTHERS:
            text = text.replace(end, escaped)
    return text.encode(errors="backslashreplace") + b"\n"


class OutputDemux:
    """Demultiplexer of a Machine's output.

    Args:
        text: Is called with text that was printed, as it comes.
        said: Is called with each line of the log.
    """

    def __init__(self, text: Callable[[bytes], None], said: Callable[[Said], None]) -> None:
        self._text = text
        self._said = said
        self._begun = b""
        """The beginning of a line whose end has not come yet."""

    def feed(self, data: bytes) -> None:
        """Take in the next piece of output."""
        data, self._begun = self._begun + data, b""
        while (begin := data.find(_BEGIN)) >= 0:
            if begin:
                self._text(data[:begin])
                data = data[begin:]
            end, next_begin = data.find(_END), data.find(_BEGIN, 1)
            if 0 < next_begin < (end if end >= 0 else len(data)):  # the line was torn, and must not swallow the next
                self._text(data[:next_begin])
                data = data[next_begin:]
            elif end < 0 and len(data) <= _LONGEST_LINE:
                self._begun = data
                return
            else:
                line, data = (data[: end + 1], data[end + 1 :]) if end >= 0 else (data, b"")
                self._take(line)
        if data:
            self._text(data)

    def end(self) -> None:
        """Hand out what was held back, as nothing more will come."""
        begun, self._begun = self._begun, b""
        if begun:
            self._text(begun)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line[1:])
            level, source, message, cut = said["level"], said["source"], said["message"], said.get("cut")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._text(line)
            return
        if all(isinstance(each, str) for each in (level, source, message)) and isinstance(cut, int | None):
            self._said((level, source, message, cut))
        else:
            self._text(line)


class LogWriter:
    """The keeper's writer of an Attempt's log file."""

    def __init__(self, file: str, limit: int) -> None:
        """Open the file, and write at most `limit` bytes. Raises OSError."""
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._limit = limit
        self._room = limit
        """Bytes that may still be written."""
        self._full = False
        self._dropped = 0
        self._unfinished = bytearray()
        """The part that is kept of the line that is being printed."""
        self._over = 0
        """Number of bytes of that line that are not kept."""
        self._after_return = False

    def text(self, data: bytes) -> None:
        """Write text that was printed: whole lines now, an unfinished line when it ends."""
        if self._full:
            self._dropped += len(data)
            return
        if self._after_return and data.startswith(b"\n"):
            data = data[1:]
        self._after_return = data.endswith(b"\r")
        now = _now()
        lines: list[bytes] = []
        first, *others = _ENDS.split(data)
        self._add(first)
        for part in others:
            lines.append(self._finished(now))
            self._add(part)
        self._write(lines)

    def say(self, level: str, source: str, message: str, cut: int | None = None) -> None:
        """Write a line whose level and source are known."""
        level, source = level if level in LEVELS else "info", source if source in SOURCES else "user"
        line = line_of(level, source, message[:LONGEST], cut)
        if self._full:
            self._dropped += len(line)
        else:
            self._write([line])

    def close(self) -> None:
        """Write what was left, and close the file. A last line without an end counts as a line."""
        if self._unfinished and not self._full:
            self._write([self._finished(_now())])
        if self._dropped:
            message = f"{self._dropped} bytes more were printed, and thrown away."
            self._append(line_of("warning", "callboard", message))
        os.close(self._file)

    def _add(self, part: bytes) -> None:
        kept = part[: LONGEST - len(self._unfinished)]
        self._unfinished += kept
        self._over += len(part) - len(kept)

    def _finished(self, now: str) -> bytes:
        text = self._unfinished.decode(errors="backslashreplace")
        cut = len(self._unfinished) + self._over if self._over else None
        self._unfinished.clear()
        self._over = 0
        return _line(now, "info", "user", text, cut)

    def _write(self, lines: list[bytes]) -> None:
        size = sum(map(len, lines))
        if size <= self._room:
            self._room -= size
            self._append(b"".join(lines))
            return
        kept: list[bytes] = []
        for line in lines:
            if len(line) > self._room:
                break
            self._room -= len(line)
            kept.append(line)
        self._full = True
        self._unfinished.clear()
        self._dropped += sum(map(len, lines[len(kept) :]))
        message = f"The log was cut: it has reached its limit of {self._limit} bytes. What follows is thrown away."
        self._append(b"".join(kept) + line_of("warning", "callboard", message))

    def _append(self, data: bytes) -> None:
        try:
            os.write(self._file, data)
        except OSError:  # the disk is full: log nothing more, as the lines before would be missing
            self._full = True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(now: str, level: str, source: str, message: str, cut: int | None) -> bytes:
    said: dict[str, object] = {"timestamp": now, "level": level, "source": source, "message": message}
    return encoded(said if cut is None else {**said, "cut": cut})
