"""Write log lines whose level and source are known, in order with what is printed.

What is written stays, even if this process is killed in the next moment. The keeper's side is `machines.intake`, which
also describes the form; nothing of it may be imported here.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import socket
import struct
from typing import Any, Protocol

_HEAD = struct.Struct(">cIH")
_PACKET = 4096
"""Most bytes that Linux writes into a pipe in one piece (PIPE_BUF)."""
_LONGEST = 64 * 1024
"""Most characters of a message; the keeper's limit is in bytes."""
_MARK = 16


class Lines(Protocol):
    """Writer of log lines. There is one for each kind of process that has something to log."""

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line. The levels are debug, info, warning and error; for the sources see `machines.transcript`."""
        ...


class SupervisorLines:
    """The supervisor's writer, over its socket to the keeper: the keeper believes what it says."""

    def __init__(self, keeper: socket.socket) -> None:
        """Choose the mark of packets in the output, and tell it to the keeper."""
        self.mark = os.urandom(_MARK)
        """What the processes of user code begin their packets with."""
        self._keeper = keeper
        self._output = _Output(self.mark)
        self._numbers = itertools.count(1)
        self._send(kind="mark", mark=self.mark.hex())

    def begin(self, file: str | None, limit: int, *, hooked: bool) -> None:
        """Tell the keeper that an Attempt begins, whose log goes to `file`.

        `hooked` says that user code has a hook. It may then log what happens in a context of that hook's own.
        """
        self._write(kind="begin", file=file, limit=limit, hooked=hooked)

    def end(self) -> None:
        """Tell the keeper that the Attempt has ended; whatever comes now is not part of its log."""
        self._write(kind="end")

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line, as a `Lines`."""
        self._write(kind="line", **_fields(level, source, message))

    def _write(self, **said: Any) -> None:
        """Send a message, then write its number at its place among what is printed."""
        number = next(self._numbers) % 2**32
        self._send(number=number, **said)
        self._output.write(b"O", number)

    def _send(self, **said: Any) -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            self._keeper.sendall(json.dumps(said).encode() + b"\n")


class UserLines:
    """The writer of a process of user code, into its output. The keeper knows that user code could write the same."""

    def __init__(self, mark: bytes) -> None:
        self._output = _Output(mark)

    def say(self, level: str, source: str, message: str) -> None:
        """Write one line, as a `Lines`."""
        body = json.dumps(_fields(level, source, message)).encode()
        room = self._output.room
        # Threads and forks write at the same time, so the parts of one line are joined by a number.
        number = int.from_bytes(os.urandom(4)) if len(body) > room else 0
        while len(body) > room:
            self._output.write(b"P", number, body[:room])
            body = body[room:]
        self._output.write(b"L", number, body)


class _Output:
    """The pipe that everything below the keeper prints to, for packets of at most one piece."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self.room = _PACKET - len(mark) - _HEAD.size
        """Most bytes in a packet."""
        # Do not copy descriptor 1: copies share flags, and other programs set theirs to non-blocking.
        self._pipe = os.open("/proc/self/fd/1", os.O_WRONLY | os.O_CLOEXEC)

    def write(self, kind: bytes, number: int, body: bytes = b"") -> None:
        with contextlib.suppress(OSError):  # the keeper is gone, and soon so is this process
            os.write(self._pipe, self._mark + _HEAD.pack(kind, number, len(body)) + body)


def _fields(level: str, source: str, message: str) -> dict[str, Any]:
    # A lone surrogate has no UTF-8 form, so it is spelled out.
    text = message[:_LONGEST].encode(errors="backslashreplace").decode()
    cut = {"cut": len(message.encode(errors="backslashreplace"))} if len(message) > _LONGEST else {}
    return {"level": level, "source": source, "message": text, **cut}
