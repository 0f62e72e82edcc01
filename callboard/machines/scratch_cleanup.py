"""Clean up after a keeper that has died: end what still runs of its Machine, and remove its scratch folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from callboard.machines import cgroups
from callboard.machines.runner.folders import remove
from callboard.machines.runner.process_tree import descendants, has_ended, pids

_WITHIN = 10.0
"""Seconds that the processes of a Machine get to end."""


def clean_up(folder: Path, group: Path | None = None) -> None:
    """End every process of the Machine whose scratch folder is `folder`, then remove the folder.

    With the folder of its control group, if it has one, no process is missed, and the group is removed, too.

    This blocks, so call it in a thread. Processes of a Machine were started with the folder in `TMPDIR` or `HOME`, or
    are below one that was. Keeper and child forbid reading their environment, and have the folder in their arguments.
    A process for which user code has changed that, and which outlives its parent and a killed keeper, is not found.
    """
    if group is not None:
        with contextlib.suppress(OSError):  # what does not die by that is looked for below
            cgroups.end(group)
    deadline = time.monotonic() + _WITHIN
    dying: set[int] = set()
    while time.monotonic() < deadline:
        # Parents may be gone before their children: every process that was found once is waited for.
        dying = {pid for pid in dying if not has_ended(pid)} | set(processes_of(folder))
        if not dying:
            break
        for pid in dying:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # there is no event for the end of a process that is not our child
    remove(folder)


def processes_of(folder: Path) -> list[int]:
    """Return the live processes that were started with `folder` in their environment or arguments, and all below them.

    Those below are included because Chromium's own processes overwrite their environment with their title.
    """
    in_environment, as_argument = f"={folder}/".encode(), f"\0{folder}\0".encode()
    found = {
        pid
        for pid in pids()
        if pid != os.getpid()
        and (as_argument in _read(f"/proc/{pid}/cmdline") or in_environment in _read(f"/proc/{pid}/environ"))
    }
    below = {pid for parent in found for pid in descendants(parent)}
    return sorted(pid for pid in found | below if not has_ended(pid))


def _read(file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError:  # we may not read it, or its process is gone
        return b""
