"""The output of user code: descriptors 1 and 2, which are a pipe to the keeper, and the streams on them."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import TextIO


class Output:
    """The output of user code. `renew` restores it for each Attempt, whatever the one before did to it.

    Copied descriptors share their flags. Node sets its own to non-blocking, and so does Playwright's driver, which has
    inherited ours: a `print` would fail as soon as the pipe is full. A pipe that is opened again has flags of its own.
    """

    def __init__(self) -> None:
        self._pipe = os.dup(1)

    def renew(self) -> None:
        """Connect descriptors 1 and 2, and `sys.stdout` and `sys.stderr`, to the pipe again."""
        self.flush()
        end = os.open(f"/proc/self/fd/{self._pipe}", os.O_WRONLY | os.O_CLOEXEC)
        for number in (1, 2):
            if number == end:  # user code had closed the descriptor, so its number was free
                os.set_inheritable(end, True)  # noqa: FBT003
            else:
                os.dup2(end, number)
        if end > 2:
            os.close(end)
        sys.stdout = sys.__stdout__ = _stream(1)
        sys.stderr = sys.__stderr__ = _stream(2)

    def flush(self) -> None:
        """Flush the streams, so that what was printed leaves the process."""
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            with contextlib.suppress(Exception):  # user code may have put anything there
                stream.flush()  # pyright: ignore[reportOptionalMemberAccess]


def _stream(number: int) -> TextIO:
    # Buffer by lines, so that what was printed before a crash is not lost. Lone surrogates can be printed, too.
    return open(number, "w", buffering=1, encoding="utf-8", errors="backslashreplace", closefd=False)
