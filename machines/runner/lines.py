"""Write log lines whose level and source are known, in order with what is printed.

What is written stays, even if this process is killed in the next moment. The keeper's side is `machines.output_demux`,
which also describes the form; nothing of it may be imported here.
"""

from __future__ import annotations

import contextlib
import json
import os
import socket
from typing import Any

_LONGEST = 64 * 1024
"""Most characters of a message; the keeper's limit is in bytes."""


class Lines:
    """The writer of a process, into the pipe that everything below the keeper prints to."""

    def __init__(self) -> None:
        # Do not copy descriptor 1: copies share flags, and other programs set theirs to non-blocking.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line. The levels are debug, info, warning and error; for the sources see `machines.transcript`."""
        # A lone surrogate has no UTF-8 form, so it is spelled out.
        text = message[:_LONGEST].encode(errors="backslashreplace").decode()
        cut = {"cut": len(message.encode(errors="backslashreplace"))} if len(message) > _LONGEST else {}
        said = json.dumps({"level": level, "source": source, "message": text, **cut}, ensure_ascii=False)
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            os.write(self._pipe, b"\x1e" + said.encode() + b"\n")


class SupervisorLines(Lines):
    """The supervisor's writer, which also tells the keeper where an Attempt begins and ends."""

    def __init__(self, keeper: socket.socket) -> None:
        super().__init__()
        self._keeper = keeper

    def begin(self, file: str | None, limit: int) -> None:
        """Tell the keeper that an Attempt begins, whose log goes to `file`: whatever comes now is part of it."""
        self._send(kind="begin", file=file, limit=limit)

    def end(self) -> None:
        """Tell the keeper that the Attempt has ended; whatever comes now is not part of its log."""
        self._send(kind="end")

    def _send(self, **told: Any) -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            self._keeper.sendall(json.dumps(told).encode() + b"\n")
