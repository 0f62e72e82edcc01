"""Tell whether the processes of a browser run, without communicating with them."""

from __future__ import annotations

import os
from pathlib import Path

from .tree import descendants, read

_STATE, _PARENT, _FLAGS, _PENDING = 0, 1, 6, 28
"""Places of fields in `stat`, counted after the command (proc(5))."""
_RUN = frozenset({b"R", b"S", b"D", b"I"})
_EXITING = 0x4
"""Flag of a process that has begun to end."""
_KILLED = 1 << (9 - 1)
"""Bit of SIGKILL in the pending signals: it was sent, and the process has not noticed it yet."""


class Vital:
    """The browser's process, and those between it and this process: Playwright's driver, above all."""

    def __init__(self, browser: int, *, boxed: bool = False) -> None:
        """Find the processes from `browser` up to this one. If it is not below this process, nothing can be told.

        Args:
            browser: Process id of the browser, as the browser itself knows it.
            boxed: Whether the browser is in a box with a PID namespace of its own.
        """
        self._parents: dict[int, bytes] = {}
        pid = _as_seen_here(browser) if boxed else browser
        while pid > 1 and pid != os.getpid() and (fields := _stat(pid)):
            self._parents[pid] = fields[_PARENT]
            pid = int(fields[_PARENT])
        if pid != os.getpid():
            self._parents.clear()

    @property
    def driver(self) -> int:
        """Process id of the topmost of them, which is the driver; 0 if nothing can be told."""
        return list(self._parents)[-1] if self._parents else 0

    @property
    def run(self) -> bool:
        """Whether all of the processes run: none is ending, about to be killed, or stopped.

        It is also False if nothing can be told. A process that is just turning from being killed to ending may seem to
        run, for the time that it takes to look.
        """
        return bool(self._parents) and all(_runs(pid, parent) for pid, parent in self._parents.items())


def _as_seen_here(number: int) -> int:
    """Return the id that the boxed process `number` has here; 0 if there is none.

    A box is one PID namespace deep. Processes in Chromium's own sandbox are deeper, and may have the same number there.
    """
    depth = len(_ids(os.getpid())) + 1
    numbered = ((pid, _ids(pid)) for pid in descendants(os.getpid()))
    return next((pid for pid, ids in numbered if len(ids) == depth and ids[-1] == number), 0)


def _ids(pid: int) -> list[int]:
    """Return the ids of a process in each PID namespace from ours to its own; empty if the process is gone."""
    line = read(f"/proc/{pid}/status").partition(b"NSpid:")[2].partition(b"\n")[0]
    return [int(number) for number in line.split()]


def _runs(pid: int, parent: bytes) -> bool:
    fields = _stat(pid)
    return (
        bool(fields)
        and fields[_STATE] in _RUN
        and fields[_PARENT] == parent  # else it is an orphan, or another process with the same id
        and not int(fields[_FLAGS]) & _EXITING
        and not int(fields[_PENDING]) & _KILLED
    )


def _stat(pid: int) -> list[bytes]:
    """Return the fields of a process's `stat` after the command; empty if the process is gone."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return []
    return stat.rpartition(b")")[2].split()
