"""The log of one Attempt as it comes in: a file with a JSON object for each line, not masked yet, up to a limit.

    {"timestamp", "level", "source", "message"}, and "cut" where a message was too long: the bytes that it had

Keeper and worker append to it, each whole lines with one write. The standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime

LEVELS = frozenset({"debug", "info", "warning", "error"})
SOURCES = frozenset({"user", "logging", "console", "page", "network", "callboard"})
"""Who says it: what user code prints, and what it logs; the page's console, its uncaught errors, requests of its that
failed; and Callboard."""
LONGEST = 64 * 1024
"""Bytes of a message. The rest of it is thrown away."""

_ENDS = re.compile(rb"\r\n|\n|\r")
_ENDS_TO_OTHERS = (("\x85", "\\u0085"), ("\u2028", "\\u2028"), ("\u2029", "\\u2029"))
"""They do not end a line in JSON, but in many a program that reads line by line."""


def line_of(level: str, source: str, message: str, cut: int | None = None) -> bytes:
    """One line of a log, of now."""
    return _line(_now(), level, source, message, cut)


def encoded(said: dict[str, object]) -> bytes:
    """One line of a log."""
    text = json.dumps(said, ensure_ascii=False, separators=(",", ":"))
    if not text.isascii():
        for end, escaped in _ENDS_TO_OTHERS:
            text = text.replace(end, escaped)
    return text.encode(errors="backslashreplace") + b"\n"


class Transcript:
    """The keeper's end of the file."""

    def __init__(self, file: str, limit: int) -> None:
        """Raises OSError."""
        self._file = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._limit = limit
        self._left = limit
        self._full = False
        self._dropped = 0
        self._unfinished = bytearray()
        """The line that is being printed, as far as it is kept."""
        self._over = 0
        """Bytes of it beyond that."""
        self._after_return = False

    def text(self, data: bytes) -> None:
        """Something was printed."""
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
        """A line whose level and source are known."""
        level, source = level if level in LEVELS else "info", source if source in SOURCES else "user"
        line = line_of(level, source, message[:LONGEST], cut)
        if self._full:
            self._dropped += len(line)
        else:
            self._write([line])

    def close(self) -> None:
        """The last line has no end: it is one all the same."""
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
        if size <= self._left:
            self._left -= size
            self._append(b"".join(lines))
            return
        kept: list[bytes] = []
        for line in lines:
            if len(line) > self._left:
                break
            self._left -= len(line)
            kept.append(line)
        self._full = True
        self._unfinished.clear()
        self._dropped += sum(map(len, lines[len(kept) :]))
        message = f"The log was cut: it has reached its limit of {self._limit} bytes. What follows is thrown away."
        self._append(b"".join(kept) + line_of("warning", "callboard", message))

    def _append(self, data: bytes) -> None:
        try:
            os.write(self._file, data)
        except OSError:  # the disk is full: what follows would have no beginning
            self._full = True


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _line(now: str, level: str, source: str, message: str, cut: int | None) -> bytes:
    said: dict[str, object] = {"timestamp": now, "level": level, "source": source, "message": message}
    return encoded(said if cut is None else {**said, "cut": cut})
