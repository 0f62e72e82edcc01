"""The output of user code: descriptors 1 and 2, which are a pipe to the keeper, and the streams on them."""

from __future__ import annotations

import contextlib
import fcntl
import io
import os
import sys
from typing import TextIO


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


def _stream(number: int) -> TextIO:
    # Nothing is held back in this process, which may be killed at any moment: neither a line without an end nor a part
    # of one. Lone surrogates can be printed, too.
    raw = io.FileIO(number, "w", closefd=False)
    return io.TextIOWrapper(raw, encoding="utf-8", errors="backslashreplace", write_through=True)  # pyright: ignore[reportArgumentType]  # as of `python -u`
