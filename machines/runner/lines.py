"""Lines of an Attempt's log of which we know level and source: packets to the keeper, between what user code prints.

The keeper's side of the same, and how a packet looks, is `machines.intake`, of which nothing may be imported here.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from typing import Any

_HEAD = struct.Struct(">cIH")
_PACKET = 4096
"""Bytes that Linux writes into a pipe in one piece (PIPE_BUF)."""
_LONGEST = 64 * 1024
"""Characters of a message; the keeper counts in bytes."""


class Lines:
    """Writes them, at once and in order with what is printed: what is written stays, whatever becomes of us."""

    def __init__(self, mark: bytes) -> None:
        """With the mark by which they are told; `main` has announced it."""
        self._mark = mark
        # Not a copy of descriptor 1: those share flags, and other programs set theirs to not block.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def begin(self, file: str | None, limit: int) -> None:
        """An Attempt begins, whose log goes to `file`."""
        self._write(b"B", {"file": file, "limit": limit})

    def end(self) -> None:
        """It has ended; whatever comes now is not part of its log."""
        self._write(b"E", {})

    def say(self, level: str, source: str, message: str) -> None:
        """One line. Levels are debug, info, warning, error; sources see `machines.transcript`."""
        # A lone surrogate has no UTF-8.
        text = message[:_LONGEST].encode(errors="backslashreplace").decode()
        cut = {"cut": len(message.encode(errors="backslashreplace"))} if len(message) > _LONGEST else {}
        self._write(b"L", {"level": level, "source": source, "message": text, **cut})

    def _write(self, kind: bytes, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        room = _PACKET - len(self._mark) - _HEAD.size
        # Threads and forks write as they like; parts of one line find each other by a number.
        line = int.from_bytes(os.urandom(4)) if len(body) > room else 0
        with contextlib.suppress(OSError):  # the keeper has gone, and so have we
            while True:
                part, body = body[:room], body[room:]
                os.write(self._pipe, self._mark + _HEAD.pack(b"P" if body else kind, line, len(part)) + part)
                if not body:
                    return
