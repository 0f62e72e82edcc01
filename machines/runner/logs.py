"""What user code logs by the standard library's `logging`: lines of its log, with their level.

As long as nobody configures it, everything from INFO on is logged, with the name of its logger. User code may configure
it as it likes: what a handler would print to stdout or stderr is logged instead, as it has formatted it. Whatever was
configured ends with the Attempt.
"""

from __future__ import annotations

import contextlib
import logging
import sys
from typing import Any

from .lines import Lines

_SOURCE = "logging"
_PLAIN = logging.Formatter("%(name)s: %(message)s")


def capture(lines: Lines) -> None:
    """From here on. Once for a process."""
    logging.lastResort = _Unconfigured(lines)  # what `logging` uses where it finds no handler
    print_it = logging.StreamHandler[Any].emit

    def emit(handler: logging.StreamHandler[Any], record: logging.LogRecord) -> None:
        if handler.stream is not sys.__stdout__ and handler.stream is not sys.__stderr__:
            print_it(handler, record)
            return
        try:
            given = getattr(handler.formatter, "_fmt", None)
            # What `basicConfig` has by itself, also when `logging.info` has called it, tells the level once more.
            text = _PLAIN.format(record) if given in (None, logging.BASIC_FORMAT) else handler.format(record)
            lines.say(_level(record), _SOURCE, text)
        except Exception:  # noqa: BLE001  # as the original does: a record with wrong arguments must not end user code
            handler.handleError(record)

    setattr(logging.StreamHandler, "emit", emit)  # noqa: B010
    reset()


def reset() -> None:
    """As it is when a program begins, but from INFO on."""
    logging.disable(logging.NOTSET)
    for logger in [logging.getLogger(), *logging.Logger.manager.loggerDict.values()]:
        if isinstance(logger, logging.Logger):
            _reset(logger)
    logging.getLogger().setLevel(logging.INFO)


def _reset(logger: logging.Logger) -> None:
    logger.setLevel(logging.NOTSET)
    logger.propagate = True
    logger.disabled = False
    logger.filters.clear()
    for handler in logger.handlers[:]:
        if not isinstance(handler, logging.NullHandler):  # libraries have these
            logger.removeHandler(handler)
            with contextlib.suppress(Exception):  # it may be of user code
                handler.close()


class _Unconfigured(logging.Handler):
    def __init__(self, lines: Lines) -> None:
        super().__init__()
        self._lines = lines

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._lines.say(_level(record), _SOURCE, _PLAIN.format(record))
        except Exception:  # noqa: BLE001  # see above
            self.handleError(record)


def _level(record: logging.LogRecord) -> str:
    if record.levelno >= logging.ERROR:
        return "error"
    if record.levelno >= logging.WARNING:
        return "warning"
    return "info" if record.levelno >= logging.INFO else "debug"
