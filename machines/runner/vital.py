"""Whether the processes of a browser run, without a word to them."""

from __future__ import annotations

import os
from pathlib import Path

_STATE, _PARENT, _FLAGS, _PENDING = 0, 1, 6, 28
"""Places in `stat` behind the command (proc(5))."""
_RUN = frozenset({b"R", b"S", b"D", b"I"})
_EXITING = 0x4
"""Of the flags: it has begun to end."""
_KILLED = 1 << (9 - 1)
"""Of the pending signals: SIGKILL was sent and has not been noticed yet."""


class Vital:
    """The browser's process, and those that are between it and ours: Playwright's driver, above all."""

    def __init__(self, browser: int) -> None:
        """Of the process `browser`; where it is not below ours, nothing can be told."""
        self._parents: dict[int, bytes] = {}
        pid = browser
        while pid > 1 and pid != os.getpid() and (fields := _stat(pid)):
            self._parents[pid] = fields[_PARENT]
            pid = int(fields[_PARENT])
        if pid != os.getpid():
            self._parents.clear()

    @property
    def run(self) -> bool:
        """Whether all of them run: none is ending, about to be killed, or stopped. False: nothing can be told.

        One that is just turning from being killed to ending may seem to run, for the time that it takes to look.
        """
        return bool(self._parents) and all(_runs(pid, parent) for pid, parent in self._parents.items())


def _runs(pid: int, parent: bytes) -> bool:
    fields = _stat(pid)
    return (
        bool(fields)
        and fields[_STATE] in _RUN
        and fields[_PARENT] == parent  # else it is an orphan, or another with the same number
        and not int(fields[_FLAGS]) & _EXITING
        and not int(fields[_PENDING]) & _KILLED
    )


def _stat(pid: int) -> list[bytes]:
    """The fields of its `stat` behind the command; nothing if it is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return stat.rpartition(b")")[2].split()
