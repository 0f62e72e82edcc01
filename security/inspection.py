"""Closes a process to the other processes of its user. The standard library alone, as the keeper of a Machine needs it.

User code runs as the same user as the worker. Without this, it could read all that the worker was started with in
`/proc/PID/environ`, and its memory besides. Root with its capabilities can do so whatever a process asks for.
"""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """Keep environment, memory and open files of this process from others of the same user; there are no core dumps.

    Forks inherit it. Programs that are executed do not: each has to ask for it itself, as early as it can.

    Raises:
        OSError: The kernel refuses it.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"this process cannot be closed to others of its user: {os.strerror(error)}")
