"""The log of one Attempt at the worker: a file that its Machine's keeper and the worker write to, and what may be read.

The file is not masked, and lies in the worker's own folder; only what has been masked leaves it.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from machines.transcript import encoded, line_of
from schemas.workflow.attempt import AttemptUsage
from security.masking import Masker

_AT_ONCE = 1024 * 1024
"""Bytes that are masked in one go. No line is longer."""


class AttemptLogFile:
    """Made for one Attempt, and closed by whoever has made it; its Machine writes into it, whatever becomes of both."""

    def __init__(self, file: Path, limit: int) -> None:
        """Nothing is written yet.

        Args:
            file: Is made here; the keeper appends to it, too.
            limit: Bytes that the keeper writes at most.

        Raises:
            OSError: The file cannot be made.
        """
        self.file = file
        self.limit = limit
        self.masker = Masker(())
        """Set before user code is called: until then nothing is written that could tell a secret."""
        self.begun = asyncio.Event()
        """Something was written."""
        self._file = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read = 0
        self._end: asyncio.Future[AttemptUsage | None] | None = None

    def say(self, message: str, level: str = "info") -> None:
        """A line of Callboard's own. A disk that is full costs the line."""
        try:
            os.write(self._file, line_of(level, "callboard", message))
        except OSError:
            return
        self.begun.set()

    def expect(self, end: asyncio.Future[AttemptUsage | None]) -> None:
        """The Attempt is given to a Machine, whose keeper tells when all that was printed is written."""
        self._end = end

    async def whole(self, within: float) -> AttemptUsage | None:
        """Wait for that; what the Attempt took. None: it was on no Machine, or nothing has come of it in time."""
        if self._end is None:
            return None
        await asyncio.wait({self._end}, timeout=within)
        return self._end.result() if self._end.done() else None

    @property
    def waiting(self) -> int:
        """Bytes that were written and not taken."""
        return os.fstat(self._file).st_size - self._read

    def take(self) -> bytes:
        """What follows what was taken before, masked, in whole lines; nothing if there is none. Raises OSError."""
        data = os.pread(self._file, _AT_ONCE, self._read)
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        return readable(data, self.masker)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


def readable(lines: bytes, masker: Masker) -> bytes:
    """Whole lines of the file, as they may be read."""
    if not masker and b'"cut":' not in lines:  # in a message, quotes are escaped
        return lines
    return b"".join(_masked(line, masker) for line in lines.splitlines())


def _masked(line: bytes, masker: Masker) -> bytes:
    try:
        said: dict[str, Any] = json.loads(line)
        message, cut = said["message"], said.pop("cut", None)
    except (ValueError, LookupError):
        return b""  # the disk was full
    if cut is None:
        return encoded({**said, "message": masker.text(message)})
    # A secret may have been cut in two.
    return encoded({**said, "message": f"{masker.clipped(message)} … [cut: it had {cut} bytes]"})
