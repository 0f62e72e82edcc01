"""Find the processes below one, see whether they run, and end them.

This works on Linux, with the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

_KILL_WITHIN = 10.0
"""Seconds after which processes that do not die (as they are stuck in the kernel) are given up and returned."""
STATE, PARENT, SESSION, FLAGS, PENDING = 0, 1, 3, 6, 28
"""Places of fields in `stat`, counted after the command (proc(5))."""
_RUN = frozenset({b"R", b"S", b"D", b"I"})
_EXITING = 0x4
"""Flag of a process that has begun to end."""
_KILLED = 1 << (9 - 1)
"""Bit of SIGKILL in the pending signals: it was sent, and the process has not noticed it yet."""


def descendants(root: int) -> list[int]:
    """Return all processes below `root`, by one pass over /proc.

    The result is not exact, as processes come and go meanwhile.
    """
    parents = {pid: parent_of(stat) for pid in pids() if (stat := read(f"/proc/{pid}/stat"))}
    return below(root, parents)


def below(root: int, parents: dict[int, int]) -> list[int]:
    """Return the processes of a map from process to parent that are below `root`; a parent before its children."""
    children: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        children.setdefault(parent, []).append(pid)
    found: list[int] = []
    queue = [root]
    while queue:
        more = children.get(queue.pop(), [])
        found += more
        queue += more
    return found


def pids() -> list[int]:
    """Return the ids of all processes of the host."""
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]  # noqa: PTH208  # as for `read`


def parent_of(stat: bytes) -> int:
    """Return the parent's id from a process's `stat`."""
    return int(fields_of(stat)[PARENT])


def fields_of(stat: bytes) -> list[bytes]:
    """Return the fields of a process's `stat` from the third on, which is its state."""
    # The command, in parentheses, may hold spaces and parentheses of its own: cut after the last parenthesis.
    return stat.rpartition(b")")[2].split()


def read(path: str) -> bytes:
    """Return a small file of /proc; empty if its process is gone.

    This does without pathlib for speed, as it runs for every process of the host.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return b""
    try:
        return os.read(descriptor, 16384)
    except OSError:
        return b""
    finally:
        os.close(descriptor)


def has_ended(pid: int) -> bool:
    """Tell whether there is no such process, or only a zombie."""
    return fields_of(read(f"/proc/{pid}/stat"))[:1] in ([], [b"Z"], [b"X"])


def kill_all(within: float = _KILL_WITHIN) -> list[int]:
    """Kill and reap everything below this process until nothing is left; return the processes that would not die.

    A process that loses its parent becomes our child. So when the kernel says we have no children, nothing is left.
    """
    deadline = time.monotonic() + within
    while not _reap():
        if time.monotonic() > deadline:
            return descendants(os.getpid())
        for pid in descendants(os.getpid()):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)  # SIGKILL is carried out by the kernel; there is no event for "the whole tree is gone"
    return []


def _reap() -> bool:
    """Reap ended children, and tell whether there are no children any more."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return True
    return False


class BrowserProcesses:
    """The browser's process, and those between it and this process: Playwright's driver, above all."""

    def __init__(self, browser: int, *, boxed: bool = False) -> None:
        """Find the processes from `browser` up to this one. If it is not below this process, nothing can be told.

        Args:
            browser: Process id of the browser, as the browser itself knows it.
            boxed: Whether the browser is in a box with a PID namespace of its own.
        """
        self._parents: dict[int, bytes] = {}
        pid = _as_seen_here(browser) if boxed else browser
        while pid > 1 and pid != os.getpid() and (fields := fields_of(read(f"/proc/{pid}/stat"))):
            self._parents[pid] = fields[PARENT]
            pid = int(fields[PARENT])
        if pid != os.getpid():
            self._parents.clear()

    @property
    def driver(self) -> int:
        """Process id of the topmost of them, which is the driver; 0 if nothing can be told."""
        return list(self._parents)[-1] if self._parents else 0

    @property
    def all_run(self) -> bool:
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
    fields = fields_of(read(f"/proc/{pid}/stat"))
    return (
        bool(fields)
        and fields[STATE] in _RUN
        and fields[PARENT] == parent  # else it is an orphan, or another process with the same id
        and not int(fields[FLAGS]) & _EXITING
        and not int(fields[PENDING]) & _KILLED
    )
