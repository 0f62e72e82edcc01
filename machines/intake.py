"""Put in order what a Machine prints, and what its supervisor says about it.

Descriptors 1 and 2 of the whole process tree are one pipe. User code can write anything there, and can even read what
others wrote; so nothing in the pipe is believed but that user code may have written it. The supervisor speaks over a
socket that it shares with the keeper alone: where an Attempt begins and ends, and log lines of other sources.

Both together are one log, in the order in which it came about. So the supervisor sends its message over the socket and
then writes the message's number into the pipe. If user code takes such a number away, or makes one up, the message
appears earlier or later among what it prints, and is still the supervisor's.

    socket    one JSON object a line: {"kind", "number", …}
      mark    what begins a packet in the pipe from now on: {"mark"}, in hexadecimal
      begin   an Attempt begins: {"file", "limit", "hooked"}
      line    a line of its log: {"level", "source", "message", "cut"}
      end     it has ended

    pipe      text, and between it packets: the mark, kind (1 byte), number (4 bytes), length (2 bytes), body
      O       the message of this number belongs here; no body
      L, P    a line that user code has logged: the same JSON; P: a part of one, more of the same number follows

A packet is no longer than what the kernel writes in one piece. The other side of both is `machines.runner.lines`, which
may import nothing of ours. This module uses the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import json
import socket
import struct
from collections import deque
from collections.abc import Callable
from typing import Any

MARK = 16
"""Length of the mark in bytes."""
_HEAD = struct.Struct(">cIH")
_PACKET = 4096
_LONGEST_LINE = 1024 * 1024
"""Most bytes of a line that comes in parts; Machines do not write longer ones."""
_MOST_PARTS = 8
"""Most lines of which parts are kept. Few threads log at the same time, but user code may begin lines without end."""
_MOST_WAITING = 1000
"""Most messages of the supervisor that wait for their number."""
_CHUNK = 65536


class Intake:
    """Merger of a Machine's output and the messages of its supervisor.

    Args:
        supervisor: The socket to the supervisor; it does not block.
        text: Is called with text that was printed, as it comes.
        logged: Is called with each line that a process of user code has logged.
        told: Is called with each message of the supervisor, but for `mark`.
    """

    def __init__(
        self,
        supervisor: socket.socket,
        text: Callable[[bytes], None],
        logged: Callable[[dict[str, Any]], None],
        told: Callable[[dict[str, Any]], None],
    ) -> None:
        self._supervisor = supervisor
        self._text = text
        self._logged = logged
        self._told = told
        self._held_back = b""
        self._mark = b""
        self._parts: dict[int, bytes] = {}
        """The parts of lines that are not whole yet, by the number of the line."""
        self._received = b""
        self._waiting: deque[dict[str, Any]] = deque()
        """Messages of the supervisor whose number has not come yet."""

    def receive(self) -> bool:
        """Take in what the supervisor has sent; return False if it will send nothing more."""
        while True:
            try:
                data = self._supervisor.recv(_CHUNK)
            except BlockingIOError:
                return True
            except ConnectionError:
                return False
            if not data:
                return False
            *lines, self._received = (self._received + data).split(b"\n")
            for line in lines:
                message: dict[str, Any] = json.loads(line)
                if message["kind"] == "mark":
                    self._mark = bytes.fromhex(message["mark"])
                else:
                    self._waiting.append(message)
            while len(self._waiting) > _MOST_WAITING:
                self._told(self._waiting.popleft())

    def feed(self, data: bytes) -> None:
        """Take in the next piece of what was printed."""
        data = self._held_back + data
        self._held_back = b""
        if not self._mark:
            self.receive()
        if self._mark:
            data = self._without_packets(data)
        if data:
            self._text(data)

    def end(self) -> None:
        """Take note that nothing more will come, and hand out everything that was held back."""
        rest, self._held_back = self._held_back, b""
        if rest and not (self._mark and rest.startswith(self._mark)):
            self._text(rest)
        self.receive()
        self._tell_until(None)

    def _without_packets(self, data: bytes) -> bytes:
        """Take packets out of `data`, and return the text that is left after the last one."""
        mark = self._mark
        while (at := data.find(mark)) >= 0:
            if at:
                self._text(data[:at])
                data = data[at:]
            if len(data) < MARK + _HEAD.size:
                self._held_back = data
                return b""
            kind, number, length = _HEAD.unpack_from(data, MARK)
            begin, end = MARK + _HEAD.size, MARK + _HEAD.size + length
            if (broken := data.find(mark, begin, end)) >= 0 or end > _PACKET:
                # User code has written the beginning of a packet. It must not swallow what follows.
                data = data[broken if broken >= 0 else begin :]
                continue
            if len(data) < end:
                self._held_back = data
                return b""
            self._unpack(kind, number, data[begin:end])
            data = data[end:]
        # Hold back the end of the data if it may be the beginning of a mark.
        begun = next((n for n in range(MARK - 1, 0, -1) if data.endswith(mark[:n])), 0)
        self._held_back = data[len(data) - begun :]
        return data[: len(data) - begun]

    def _unpack(self, kind: bytes, number: int, body: bytes) -> None:
        if kind == b"O":
            self.receive()  # it was sent before its number was written
            self._tell_until(number)
            return
        body = self._parts.pop(number, b"") + body
        if kind == b"P" and len(body) <= _LONGEST_LINE:
            self._parts[number] = body
            if len(self._parts) > _MOST_PARTS:
                del self._parts[next(iter(self._parts))]
        elif kind == b"L":
            with contextlib.suppress(ValueError, KeyError, TypeError, AttributeError):  # user code may write anything
                self._logged(json.loads(body))

    def _tell_until(self, number: int | None) -> None:
        """Hand out the messages up to this number, or all. A number that is not there belongs to no message."""
        if number is not None and all(message["number"] != number for message in self._waiting):
            return
        while self._waiting:
            message = self._waiting.popleft()
            if message["kind"] == "begin":
                self._parts.clear()  # those left are of processes that were killed while they wrote
            self._told(message)
            if message["number"] == number:
                return
