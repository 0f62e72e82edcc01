"""Write what user code logs by the standard library's `logging` to the Attempt's log, with its level.

As long as user code does not configure `logging`, everything from INFO on is logged, with the name of its logger. User
code may configure it: what a handler would print to stdout or stderr is then written to the Attempt's log instead, as
the handler has formatted it.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from .output import Lines

_SOURCE = "logging"
_PLAIN = logging.Formatter("%(name)s: %(message)s")


def capture(lines: Lines) -> None:
    """Capture what is logged from now on. This is called once in a process."""
    logging.lastResort = _Unconfigured(lines)  # `logging` uses this if it finds no handler
    print_it = logging.StreamHandler[Any].emit

    def emit(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
        if handler.stream is not sys.__stdout__ and handler.stream is not sys.__stderr__:
            print_it(handler, record)
            return
        try:
            given = getattr(handler.formatter, "_fmt", None)
            # The default format of `basicConfig`, which `logging.info` may have called, would repeat the level.
            text = _PLAIN.format(record) if given in (None, logging.BASIC_FORMAT) else handler.format(record)
            lines.say(_level(record), _SOURCE, text)
        except Exception:  # noqa: BLE001  # like the original: wrong arguments must not end user code
            handler.handleError(record)

    setattr(logging.StreamHandler, "emit", emit)  # noqa: B010
    logging.getLogger().setLevel(logging.INFO)


class _Unconfigured(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.say(_level(record), _SOURCE, _PLAIN.format(record))
        except Exception:  # noqa: BLE001  # as in `capture`
            self.handleError(record)


def _level(record: logging.LogRecord) -> str:
    if record.levelno >= logging.ERROR:
        return "error"
    if record.levelno >= logging.WARNING:
        return "warning"
    return "info" if record.levelno >= logging.INFO else "debug"
