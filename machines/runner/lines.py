"""Write log lines whose level and source are known, as packets to the keeper between what user code prints.

The keeper's side is `machines.intake`, which also describes the packets; nothing of it may be imported here.
"""

from __future__ import annotations

import contextlib
import json
import os
import struct
from typing import Any

_HEAD = struct.Struct(">cIH")
_PACKET = 4096
"""Most bytes that Linux writes into a pipe in one piece (PIPE_BUF)."""
_LONGEST = 64 * 1024
"""Most characters of a message; the keeper's limit is in bytes."""


class Lines:
    """Writer of packets, at once and in order with what is printed: what is written stays, even if we are killed."""

    def __init__(self, mark: bytes) -> None:
        """Open the pipe to the keeper. Packets are recognized by `mark`, which `main` has announced."""
        self._mark = mark
        # Do not copy descriptor 1: copies share flags, and other programs set theirs to non-blocking.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def begin(self, file: str | None, limit: int) -> None:
        """Tell the keeper that an Attempt begins, whose log goes to `file`."""
        self._write(b"B", {"file": file, "limit": limit})

    def end(self) -> None:
        """Tell the keeper that the Attempt has ended; whatever comes now is not part of its log."""
        self._write(b"E", {})

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line. The levels are debug, info, warning and error; for the sources see `machines.transcript`."""
        # A lone surrogate has no UTF-8 form, so it is spelled out.
        text = message[:_LONGEST].encode(errors="backslashreplace").decode()
        cut = {"cut": len(message.encode(errors="backslashreplace"))} if len(message) > _LONGEST else {}
        self._write(b"L", {"level": level, "source": source, "message": text, **cut})

    def _write(self, kind: bytes, said: dict[str, Any]) -> None:
        body = json.dumps(said).encode()
        room = _PACKET - len(self._mark) - _HEAD.size
        # Threads and forks write at the same time, so the parts of one line are joined by a number.
        line = int.from_bytes(os.urandom(4)) if len(body) > room else 0
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            while True:
                part, body = body[:room], body[room:]
                os.write(self._pipe, self._mark + _HEAD.pack(b"P" if body else kind, line, len(part)) + part)
                if not body:
                    return
