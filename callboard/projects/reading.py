"""The limits of a process that reads files of others, and the error that names a file which exceeds them."""

from __future__ import annotations

import os
import resource
import signal
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path

from callboard.schemas.errors import ProjectError

MEMORY = 512 * 1024**2
"""Bytes of address space that the process may have. Our own modules take some 70 MB of it."""
WITHIN = timedelta(minutes=5)
"""How long it may take; of the processor's time, it gets no more."""

_bounded = False


class _OutOfTime(BaseException):
    """The time of a `Patience` is over. Nobody who reads files catches it."""


def bound_process() -> None:
    """Bound what this process may take, for good."""
    global _bounded  # it is said of the process
    seconds = int(WITHIN.total_seconds())
    for limit, most in ((resource.RLIMIT_AS, MEMORY), (resource.RLIMIT_CPU, seconds), (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (most, most))
    with suppress(OSError):  # If memory ends, this process is to go, and not the one that has started it.
        Path("/proc/self/oom_score_adj").write_text("1000")
    os.umask(0o077)
    signal.signal(signal.SIGVTALRM, _out_of_time)
    _bounded = True


def _out_of_time(_signal: int, _frame: object) -> None:
    raise _OutOfTime


@contextmanager
def reading(file: str) -> Generator[None]:
    """Name `file` in the error if what the block makes of it takes more memory than there is.

    Raises:
        ProjectError: It does.
    """
    try:
        yield
    except MemoryError:
        raise ProjectError(
            f"{file}: it is too large: what is made of it when it is read takes more than {MEMORY // 1024**2} MiB."
        ) from None


class Patience:
    """How long all of something may take together, in a process that is bounded."""

    def __init__(self, seconds: float) -> None:
        """Give it so many seconds of the processor."""
        self._seconds = self._left = seconds

    @contextmanager
    def with_file(self, file: str) -> Generator[None]:
        """Have the block use up what is left.

        Raises:
            ProjectError: The time is over; the message names `file`.
        """
        if not _bounded:
            yield
            return
        began = time.process_time()
        signal.setitimer(signal.ITIMER_VIRTUAL, max(self._left, 1e-6))
        try:
            yield
        except _OutOfTime:
            raise ProjectError(
                f"{file}: to find out what it names takes more than {self._seconds:g} seconds. Write its patterns with "
                "fewer stars."
            ) from None
        finally:
            signal.setitimer(signal.ITIMER_VIRTUAL, 0)
            self._left -= time.process_time() - began
