"""What a Machine prints, taken apart: the packets of its child, and the text of whatever else writes there.

Descriptors 1 and 2 of the whole tree are one pipe, so all of it comes in its order. The child puts packets of its own
between: where an Attempt begins and ends, and lines of which it knows level and source. They are told by a random mark
that the child makes, and says as the first thing that is ever printed; so no text can pass for a packet. A packet is no
longer than what the kernel writes in one piece.

    first     MAGIC, then the mark
    packet    the mark, kind (1 byte), line (4 bytes), length (2 bytes), body

    B         an Attempt begins: JSON {"file", "limit"}
    E         it has ended
    L, P      a line: JSON {"level", "source", "message", "cut"}; P: a part of one, more of the same number follows

The child's side of the same is `machines.runner.lines`, which may import nothing of ours. The standard library alone,
as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import json
import struct
from collections.abc import Callable
from typing import Any

MAGIC = b"\0callboard\0"
MARK = 16
"""Bytes of the mark."""
_HEAD = struct.Struct(">cIH")
_LONGEST_LINE = 1024 * 1024
"""Bytes of a line that comes in parts; more are not the child's."""


class Intake:
    """Takes in what is printed.

    Args:
        text: Is given what is no packet, as it comes.
        packet: Is given each packet that is whole: its kind, `B`, `E` or `L`, and its body.
    """

    def __init__(self, text: Callable[[bytes], None], packet: Callable[[str, dict[str, Any]], None]) -> None:
        self._text = text
        self._packet = packet
        self._waiting = b""
        self._mark: bytes | None = None
        self._parts: dict[int, bytes] = {}
        """Of lines that are not whole yet, by their number."""

    def feed(self, data: bytes) -> None:
        """Something was printed."""
        data = self._waiting + data
        self._waiting = b""
        if self._mark is None:
            data = self._begun(data)
        elif self._mark:
            data = self._taken(data)
        if data:
            self._text(data)

    def end(self) -> None:
        """Nothing comes any more."""
        rest, self._waiting = self._waiting, b""
        if rest and not (self._mark and rest.startswith(self._mark)):
            self._text(rest)

    def _begun(self, data: bytes) -> bytes:
        """Look for the mark at the very beginning; what of `data` is text."""
        if not data.startswith(MAGIC[: len(data)]):
            self._mark = b""
            return data
        if len(data) < len(MAGIC) + MARK:
            self._waiting = data
            return b""
        self._mark = data[len(MAGIC) : len(MAGIC) + MARK]
        return self._taken(data[len(MAGIC) + MARK :])

    def _taken(self, data: bytes) -> bytes:
        """Take packets out; what text is left behind the last."""
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
        # The mark may have come in part.
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
            self._parts.clear()  # of processes that were killed as they wrote
        with contextlib.suppress(ValueError, KeyError, TypeError):  # user code has found the mark, and plays with it
            self._packet(kind, json.loads(body or b"{}"))
