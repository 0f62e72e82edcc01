"""Take apart what a Machine prints: text, and between it lines of its log, which have a level and a source.

Descriptors 1 and 2 of the whole process tree are one pipe, and each of its processes may write anything there. So the
log keeps the order in which things happened, and an automation may put into it what it likes. The lines are JSON text
sequences (RFC 7464), written by `machines.runner.stdio`, which may import nothing of ours:

    0x1E {"level", "source", "message"} newline         with "cut" if the message was too long: the bytes that it had

Anything else is text. This module uses the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import json
from collections.abc import Callable

_BEGIN, _END = b"\x1e", b"\n"
_LONGEST = 1024 * 1024
"""Most bytes of a line. Machines write shorter ones."""

Said = tuple[str, str, str, int | None]
"""Level, source and message of a line, and how many bytes the message had before it was cut."""


class OutputDemux:
    """Demultiplexer of a Machine's output.

    Args:
        text: Is called with text that was printed, as it comes.
        said: Is called with each line of the log.
    """

    def __init__(self, text: Callable[[bytes], None], said: Callable[[Said], None]) -> None:
        self._text = text
        self._said = said
        self._begun = b""
        """The beginning of a line whose end has not come yet."""

    def feed(self, data: bytes) -> None:
        """Take in the next piece of what was printed."""
        data, self._begun = self._begun + data, b""
        while (begin := data.find(_BEGIN)) >= 0:
            if begin:
                self._text(data[:begin])
                data = data[begin:]
            end, next_begin = data.find(_END), data.find(_BEGIN, 1)
            if 0 < next_begin < (end if end >= 0 else len(data)):  # the line was torn, and must not swallow the next
                self._text(data[:next_begin])
                data = data[next_begin:]
            elif end < 0 and len(data) <= _LONGEST:
                self._begun = data
                return
            else:
                line, data = (data[: end + 1], data[end + 1 :]) if end >= 0 else (data, b"")
                self._take(line)
        if data:
            self._text(data)

    def end(self) -> None:
        """Hand out what was held back, as nothing more will come."""
        begun, self._begun = self._begun, b""
        if begun:
            self._text(begun)

    def _take(self, line: bytes) -> None:
        try:
            said = json.loads(line[1:])
            level, source, message, cut = said["level"], said["source"], said["message"], said.get("cut")
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            self._text(line)
            return
        if all(isinstance(each, str) for each in (level, source, message)) and isinstance(cut, int | None):
            self._said((level, source, message, cut))
        else:
            self._text(line)
