"""Clean up after a keeper that died itself: end what still runs of its Machine, remove its scratch folder."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import time
from pathlib import Path

_WITHIN = 10.0
"""Seconds."""


def scratch(folder: Path) -> None:
    """End every process whose environment says that it belongs to the Machine of `folder`, then remove that.

    Blocking: call it in a thread. Processes of a Machine carry the folder in `TMPDIR` or `HOME`, as they were
    started; user code that changed that for a process of its own and outlived a killed keeper is not found.
    """
    deadline = time.monotonic() + _WITHIN
    while (left := processes_of(folder)) and time.monotonic() < deadline:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.02)  # there is no event for the end of a process that is not our child
    shutil.rmtree(folder, ignore_errors=True)


def processes_of(folder: Path) -> list[int]:
    """Live processes that were started with `folder` in their environment."""
    needle = f"={folder}/".encode()
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            with contextlib.suppress(OSError):
                if needle in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
    return found
