"""The standard streams of a Machine's processes, which lead to its keeper.

Descriptors 1 and 2 are a pipe to the keeper. It holds what is printed, and between it the lines of the Attempt's log,
which have a level and a source. What is written stays, even if this process is killed in the next moment. The keeper's
side is `callboard.machines.log_writer`, which also describes the form of the lines; nothing of it may be imported here.

What user code logs by the standard library's `logging` becomes such a line, with its level. Unless user code configures
`logging`, everything from INFO on is logged, with the name of its logger. If it does, what a handler would print to
stdout or stderr is a line as well, as the handler has formatted it.

The supervisor's standard input is a socket to the keeper (`KeeperSocket`).
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import io
import json
import logging
import os
import socket
import sys
from typing import Any, TextIO

_LONGEST = 64 * 1024
"""Most characters of a message; the keeper's limit is in bytes."""
_MESSAGE = 4096
"""Bytes that are enough for the keeper's one message."""
_PLAIN = logging.Formatter("%(name)s: %(message)s")


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


class LogLines:
    """The writer of a process for lines of the log, into the pipe that everything below the keeper prints to."""

    def __init__(self) -> None:
        # Do not copy descriptor 1: copies share flags, and other programs set theirs to non-blocking.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line. Levels: debug, info, warning, error. `callboard.machines.log_writer` has the sources."""
        # A lone surrogate has no UTF-8 form, so it is spelled out.
        text = message[:_LONGEST].encode(errors="backslashreplace").decode()
        cut = {"cut": len(message.encode(errors="backslashreplace"))} if len(message) > _LONGEST else {}
        said = json.dumps({"level": level, "source": source, "message": text, **cut}, ensure_ascii=False)
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            os.write(self._pipe, b"\x1e" + said.encode() + b"\n")


def capture_logging(lines: LogLines) -> None:
    """Turn log records into lines from now on. This is called once in a process."""
    logging.lastResort = logging.StreamHandler(sys.__stderr__)  # `logging` uses this if it finds no handler
    print_it = logging.StreamHandler[Any].emit

    def emit(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
        if handler.stream is not sys.__stdout__ and handler.stream is not sys.__stderr__:
            print_it(handler, record)
            return
        try:
            given = getattr(handler.formatter, "_fmt", None)
            # The default format of `basicConfig`, which `logging.info` may have called, would repeat the level.
            text = _PLAIN.format(record) if given in (None, logging.BASIC_FORMAT) else handler.format(record)
            lines.say(_level(record), "logging", text)
        except Exception:  # noqa: BLE001  # like the original: wrong arguments must not end user code
            handler.handleError(record)

    setattr(logging.StreamHandler, "emit", emit)  # noqa: B010
    logging.getLogger().setLevel(logging.INFO)


def _level(record: logging.LogRecord) -> str:
    if record.levelno >= logging.ERROR:
        return "error"
    if record.levelno >= logging.WARNING:
        return "warning"
    return "info" if record.levelno >= logging.INFO else "debug"


class KeeperSocket:
    """The supervisor's socket to the keeper.

    The supervisor says where an Attempt begins and ends, and when the Machine is idle. The keeper says if the Machine
    has passed a limit. It then gives the supervisor a moment to end user code and to save what the Attempt leaves, and
    ends the Machine after that.
    """

    def __init__(self, keeper: socket.socket) -> None:
        self._keeper = keeper
        self.has_passed = asyncio.Event()
        """Event that is set once a limit was passed."""
        self.passed: str | None = None
        """Name of the limit that was passed; None if none was."""
        self.used = 0
        """How much of it was used."""
        asyncio.get_running_loop().add_reader(keeper, self._read)

    def begin(self, file: str | None, limit: int) -> None:
        """Say that an Attempt begins: all output from now on is part of its log, which goes to `file`."""
        self._send(kind="begin", file=file, limit=limit)

    def end(self) -> None:
        """Say that the Attempt has ended; output from now on is not part of its log."""
        self._send(kind="end")

    def idle(self) -> None:
        """Say that no code of the project runs any more, until an Attempt begins or `busy` says otherwise."""
        self._send(kind="idle")

    def busy(self) -> None:
        """Say that code of the project may run although no Attempt does."""
        self._send(kind="busy")

    def _send(self, **message: Any) -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            self._keeper.sendall(json.dumps(message).encode() + b"\n")

    def _read(self) -> None:
        try:
            data = self._keeper.recv(_MESSAGE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except ConnectionError:
            data = b""
        if not data:  # the keeper is gone, and nothing is left for long
            asyncio.get_running_loop().remove_reader(self._keeper)
            return
        message = json.loads(data)
        self.passed, self.used = str(message["limit"]), int(message["used"])
        self.has_passed.set()


def _stream(number: int) -> TextIO:
    # Nothing is held back in this process, which may be killed at any moment: neither a line without an end nor a part
    # of one. Lone surrogates can be printed, too.
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # pyright: ignore[reportArgumentType]  # as of `python -u`
