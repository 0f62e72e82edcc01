"""Clean up after a keeper that died itself: end what still runs of its Machine, remove its scratch folder."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

from machines.runner.removal import remove
from machines.tree import descendants

_WITHIN = 10.0
"""Seconds."""


def scratch(folder: Path) -> None:
    """End every process of the Machine of `folder`, then remove that.

    Blocking: call it in a thread. Processes of a Machine carry the folder in `TMPDIR` or `HOME`, as they were
    started, or are below one that does. Keeper and child forbid reading these, and carry it in their arguments. User
    code that changed that for a process of its own, and let it outlive its parent and a killed keeper, is not found.
    """
    deadline = time.monotonic() + _WITHIN
    dying: set[int] = set()
    while time.monotonic() < deadline:
        # Parents are gone before their children are: who was found once is waited for.
        dying = {pid for pid in dying if _lives(pid)} | set(processes_of(folder))
        if not dying:
            break
        for pid in dying:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # there is no event for the end of a process that is not our child
    remove(folder)


def processes_of(folder: Path) -> list[int]:
    """Live processes that were started with `folder` in their environment or as an argument, and all below them.

    Those below are asked for, as Chromium's own processes overwrite their environment with their title.
    """
    in_environment, as_argument = f"={folder}/".encode(), f"\0{folder}\0".encode()
    found: set[int] = set()
    for entry in Path("/proc").iterdir():
        if (
            entry.name.isdigit()
            and int(entry.name) != os.getpid()
            and (as_argument in _read(entry / "cmdline") or in_environment in _read(entry / "environ"))
        ):
            found.add(int(entry.name))
    below = {pid for parent in found for pid in descendants(parent)}
    return sorted(pid for pid in found | below if _lives(pid))


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:  # it is not ours to read, or its process is gone
        return b""


def _lives(pid: int) -> bool:
    """Whether there is such a process, which is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(")")[2].split(maxsplit=1)[0]
    except OSError:
        return False
    return state not in {"Z", "X"}
