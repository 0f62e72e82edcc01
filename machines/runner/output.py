"""The output of a Machine's processes: descriptors 1 and 2, which are a pipe to the keeper, and what is on them.

These are the streams of user code, and between what is printed the lines of the Attempt's log whose level and source
are known. What is written stays, even if this process is killed in the next moment. The keeper's side is
`machines.output_demux`, which also describes the form of the lines; nothing of it may be imported here.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import socket
import sys
from typing import Any, TextIO

_LONGEST = 64 * 1024
"""Most characters of a message; the keeper's limit is in bytes."""


def open_output() -> None:
    """Open the pipe to the keeper anew for this process, as descriptors 1 and 2 and the streams on them.

    Copied descriptors share their flags. Node sets its own to non-blocking, and so does Playwright's driver, which has
    inherited ours: a `print` would fail as soon as the pipe is full. A pipe that is opened again has flags of its own.
    """
    end = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)
    for number in (1, 2):
        os.dup2(end, number)
    os.close(end)
    sys.stdout = sys.__stdout__ = _stream(1)
    sys.stderr = sys.__stderr__ = _stream(2)


def state_of_pipe() -> tuple[int, int]:
    """Return size and permissions of the pipe to the keeper.

    All Attempts of a Machine share the pipe, and user code can change these.
    """
    return fcntl.fcntl(1, fcntl.F_GETPIPE_SZ), os.fstat(1).st_mode


def flush_output() -> None:
    """Flush the streams, so that what was printed leaves the process, also through streams of user code's own."""
    for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
        with contextlib.suppress(Exception):  # user code may have put anything there
            stream.flush()  # pyright: ignore[reportOptionalMemberAccess]


class Lines:
    """The writer of a process, into the pipe that everything below the keeper prints to."""

    def __init__(self) -> None:
        # Do not copy descriptor 1: copies share flags, and other programs set theirs to non-blocking.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line. The levels are debug, info, warning and error; for the sources see `machines.log_writer`."""
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


def _stream(number: int) -> TextIO:
    # Nothing is held back in this process, which may be killed at any moment: neither a line without an end nor a part
    # of one. Lone surrogates can be printed, too.
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # pyright: ignore[reportArgumentType]  # as of `python -u`
