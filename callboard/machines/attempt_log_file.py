"""The log file of one Attempt at the worker: its Machine's keeper and the worker write to it, and it is read masked.

The file itself is not masked. It lies in the worker's own folder, and what leaves that is masked.
"""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any

from callboard.machines.log_writer import encoded, line_of
from callboard.schemas.workflow.attempt import AttemptUsage
from callboard.security.masking import Masker

_AT_ONCE = 1024 * 1024
"""Most bytes that are read and masked in one go. No line of the file is longer."""


class AttemptLogFile:
    """The log file of one Attempt. Whoever creates it closes it.

    The Attempt's Machine writes into it, whatever becomes of the Attempt and of the Machine.
    """

    def __init__(self, file: Path, limit: int) -> None:
        """Create the file; the keeper appends to it, too, and at most `limit` bytes. Raises OSError."""
        self.file = file
        self.limit = limit
        self.masker = Masker(())
        """The masker for what is read. It is set before user code is called: until then no secret can be written."""
        self.has_lines = asyncio.Event()
        """Event that is set once something was written by `write_line`."""
        self._file = os.open(file, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._read = 0
        self._end: asyncio.Future[AttemptUsage | None] | None = None

    def write_line(self, message: str, level: str = "info") -> None:
        """Write a line of Callboard's own. The line is lost if the disk is full."""
        try:
            os.write(self._file, line_of(level, "callboard", message))
        except OSError:
            return
        self.has_lines.set()

    def on_machine(self, log_complete: asyncio.Future[AttemptUsage | None]) -> None:
        """Remember that the Attempt is given to a Machine, and what resolves when all that was printed is written."""
        self._end = log_complete

    async def wait_complete(self, within: float) -> AttemptUsage | None:
        """Wait until the keeper has written the whole log, and return what the Attempt used.

        Return None if the Attempt was on no Machine, or if its keeper has not said so in time.
        """
        if self._end is None:
            return None
        await asyncio.wait({self._end}, timeout=within)
        return self._end.result() if self._end.done() else None

    @property
    def unread(self) -> int:
        """Number of bytes that were written and not read yet."""
        return os.fstat(self._file).st_size - self._read

    def read_masked(self) -> bytes:
        """Return the next whole lines after those taken before, masked; empty if there are none. Raises OSError."""
        data = os.pread(self._file, _AT_ONCE, self._read)
        data = data[: data.rfind(b"\n") + 1]
        self._read += len(data)
        return mask_lines(data, self.masker)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


def mask_lines(lines: bytes, masker: Masker) -> bytes:
    """Return whole lines of the file, masked."""
    if not masker and b'"cut":' not in lines:  # no message can contain `"cut":`, as quotes are escaped in it
        return lines
    return b"".join(_masked(line, masker) for line in lines.splitlines())


def _masked(line: bytes, masker: Masker) -> bytes:
    try:
        said: dict[str, Any] = json.loads(line)
        message, cut = said["message"], said.pop("cut", None)
    except (ValueError, LookupError):
        return b""  # the line is incomplete because the disk was full
    if cut is None:
        return encoded({**said, "message": masker.mask_text(message)})
    # A secret may have been cut in two at the end of the message.
    return encoded({**said, "message": f"{masker.mask_clipped_text(message)} … [cut: it had {cut} bytes]"})
