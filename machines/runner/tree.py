"""Find and end the processes below one.

This works on Linux, with the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time

_KILL_WITHIN = 10.0
"""Seconds after which processes that do not die (as they are stuck in the kernel) are given up and returned."""


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
    return int(fields_of(stat)[1])


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
