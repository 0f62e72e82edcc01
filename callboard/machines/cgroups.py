"""Control groups of Machines (cgroup v2), where this host delegates a group to the worker.

The keeper looks at its Machine now and then, and lets it save its evidence before it ends it. The group holds what is
quicker than that: the kernel lets the Machine have no more tasks than its limit and hardly more memory, and kills all
of it at one word. This module uses the standard library alone, as the keeper needs it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Iterator
from pathlib import Path

_CONTROLLERS = ("memory", "pids")
_WORKER = "worker"
"""Group of the worker itself: a group whose processes are limited by groups below it may have none of its own."""
_SLACK = 1.25
"""Memory of a group as a share of its Machine's limit: the keeper, which measures, is to be the first."""
_EMPTY_WITHIN = 10.0
"""Seconds in which all processes of a group must have ended after they were killed."""


def find_delegated() -> Path | None:
    """Return the folder of the group that this process is in, if this process may manage it; else None.

    It may if whoever manages groups says so, as systemd does for `Delegate=yes`, or if it is the topmost group of a
    container and can be written to. To be root is not enough: the groups of a host belong to its service manager.
    """
    with contextlib.suppress(OSError, ValueError):
        folder = _own_folder()
        if folder.name == _WORKER:  # it was moved there by a worker before this one
            folder = folder.parent
        available = (folder / "cgroup.controllers").read_text().split()
        if set(_CONTROLLERS) <= set(available) and _is_delegated(folder):
            return folder
    return None


def prepare(folder: Path) -> None:
    """Make it possible to have groups of Machines in this one: its processes move into a group for the worker.

    Raises:
        OSError: The kernel refuses it.
    """
    (folder / _WORKER).mkdir(exist_ok=True)
    for pid in (folder / "cgroup.procs").read_text().split():
        with contextlib.suppress(ProcessLookupError):
            (folder / _WORKER / "cgroup.procs").write_text(pid)
    (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))


def group_of(folder: Path, scratch: Path) -> Path:
    """Return the folder of the group of the Machine with this scratch folder, given that of the worker's group."""
    return folder / f"{scratch.parent.parent.name}-{scratch.name}"


def make(group: Path, memory: int, tasks: int) -> None:
    """Make the group of one Machine.

    Args:
        group: Its folder, whose parent was prepared.
        memory: Bytes of memory that the Machine may have.
        tasks: Processes and threads that it may have.

    Raises:
        OSError: The kernel refuses it.
    """
    group.mkdir()
    (group / "memory.max").write_text(str(round(memory * _SLACK)))
    with contextlib.suppress(FileNotFoundError):  # not every host accounts for swap
        (group / "memory.swap.max").write_text("0")
    (group / "pids.max").write_text(str(tasks))


def enter(group: Path) -> None:
    """Move this process into a group, with all that it will start. Raises OSError."""
    (group / "cgroup.procs").write_text("0")


def memory_kills(group: Path) -> int:
    """Return how many processes of the group the kernel has killed because its memory was used up."""
    with contextlib.suppress(OSError):
        for line in (group / "memory.events").read_text().splitlines():
            name, _, number = line.partition(" ")
            if name == "oom_kill":
                return int(number)
    return 0


def end(group: Path) -> None:
    """Kill all processes of a group, if it is still there, and remove it. This blocks.

    Raises:
        OSError: A process of it does not die.
    """
    with contextlib.suppress(FileNotFoundError):
        (group / "cgroup.kill").write_text("1")
        deadline = time.monotonic() + _EMPTY_WITHIN
        while True:
            try:
                group.rmdir()
            except OSError as error:  # it is busy until its last process has ended
                if error.errno != errno.EBUSY or time.monotonic() > deadline:
                    raise
                time.sleep(0.005)
            else:
                return


def _own_folder() -> Path:
    """Return the folder of the group that this process is in. Raises OSError or ValueError."""
    own = next(line.removeprefix("0::") for line in _lines("/proc/self/cgroup") if line.startswith("0::"))
    for line in _lines("/proc/self/mountinfo"):
        before, _, after = line.partition(" - ")
        if after.startswith("cgroup2 "):
            root, place = before.split()[3:5]
            return Path(place, Path(own).relative_to(root))
    raise ValueError("cgroup v2 is not mounted")


def _lines(path: str) -> Iterator[str]:
    yield from Path(path).read_text().splitlines()


def _is_delegated(folder: Path) -> bool:
    if not all(os.access(folder / name, os.W_OK) for name in ("", "cgroup.procs", "cgroup.subtree_control")):
        return False
    for name in ("user.delegate", "trusted.delegate"):
        with contextlib.suppress(OSError):
            if os.getxattr(folder, name) == b"1":
                return True
    # The topmost group that can be seen has no type if it is the host's, but has one if it is a container's.
    return not (folder.parent / "cgroup.procs").exists() and (folder / "cgroup.type").exists()
