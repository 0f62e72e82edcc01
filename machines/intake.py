"""Separate what a Machine prints into the packets of its child, and the text of whatever else writes there.

Descriptors 1 and 2 of the whole process tree are one pipe, so everything arrives in order. Between the text, the child
writes packets of its own: where an Attempt begins and ends, and log lines whose level and source it knows. Packets are
recognized by a random mark that the child makes, and announces as the first thing that is ever printed; so no text can
pass for a packet. A packet is no longer than what the kernel writes in one piece.

    first     MAGIC, then the mark
    packet    the mark, kind (1 byte), line (4 bytes), length (2 bytes), body

    B         an Attempt begins: JSON {"file", "limit"}
    E         the Attempt has ended
    L, P      a line: JSON {"level", "source", "message", "cut"}; P: a part of one, more of the same number follows

The child's side is `machines.runner.lines`, which may import nothing of ours. This module uses the standard library
alone, as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from typing import Any

MAGIC = b"\0callboard\0"
MARK = 16
"""Length of the mark in bytes."""
_HEAD = struct.Struct(">cIH")
_LONGEST_LINE = 1024 * 1024
"""Most bytes of a line that comes in parts; the child does not write longer ones."""


class Intake:
    """Demultiplexer of what a Machine prints.

    Args:
        text: Is called with what is no packet, as it comes.
        packet: Is called with each whole packet: its kind, `B`, `E` or `L`, and its body.
    """

    def __init__(self, text: Callable[[bytes], None], packet: Callable[[str, dict[str, Any]], None]) -> None:
        self._text = text
        self._packet = packet
        self._waiting = b""
        self._mark: bytes | None = None
        self._parts: dict[int, bytes] = {}
        """The parts of lines that are not whole yet, by the number of the line."""

    def feed(self, data: bytes) -> None:
        """Take in the next piece of what was printed."""
        data = self._waiting + data
        self._waiting = b""
        if self._mark is None:
            data = self._begun(data)
        elif self._mark:
            data = self._taken(data)
        if data:
            self._text(data)

    def end(self) -> None:
        """Take note that nothing more will come, and hand out text that was held back."""
        rest, self._waiting = self._waiting, b""
        if rest and not (self._mark and rest.startswith(self._mark)):
            self._text(rest)

    def _begun(self, data: bytes) -> bytes:
        """Look for the mark at the very beginning of the output, and return the part of `data` that is text."""
        if not data.startswith(MAGIC[: len(data)]):
            self._mark = b""
            return data
        if len(data) < len(MAGIC) + MARK:
            self._waiting = data
            return b""
        self._mark = data[len(MAGIC) : len(MAGIC) + MARK]
        return self._taken(data[len(MAGIC) + MARK :])

    def _taken(self, data: bytes) -> bytes:
        """Take packets out of `data`, and return the text that is left after the last one."""
        mark = self._mark or b""
        while (at := data.find(mark)) >= 0:
            if at:
                self._text(data[:at])
                data = data[at:]
            if len(data) < MARK + _HEAD.size:
                self._waiting = data
                return b""
            kind, line, length = _HEAD.unpack_from(data, MARK)
            end = MARK + _HEAD.size + length
            if len(data) < end:
                self._waiting = data
                return b""
            self._unpack(kind.decode("latin-1"), line, data[MARK + _HEAD.size : end])
            data = data[end:]
        # Hold back the end of the data if it may be the beginning of a mark.
        begun = next((n for n in range(MARK - 1, 0, -1) if data.endswith(mark[:n])), 0)
        self._waiting = data[len(data) - begun :]
        return data[: len(data) - begun]

    def _unpack(self, kind: str, line: int, body: bytes) -> None:
        body = self._parts.pop(line, b"") + body
        if kind == "P":
            if len(body) <= _LONGEST_LINE:
                self._parts[line] = body
            return
        if kind == "B":
            self._parts.clear()  # those left are of processes that were killed while they wrote
        with contextlib.suppress(ValueError, KeyError, TypeError):  # user code may know the mark, and forge packets
            self._packet(kind, json.loads(body or b"{}"))
