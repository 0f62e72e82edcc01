"""Close a process to other processes of its user. This uses only the standard library, as a Machine's keeper needs it.

User code runs as the same user as the worker. Without this, it could read all that the worker was started with in
`/proc/PID/environ`, and also its memory. Root with its capabilities can do so whatever a process requests.
"""

from __future__ import annotations

import ctypes
import os

_PR_SET_DUMPABLE = 4


def forbid_inspection() -> None:
    """Protect environment, memory and open files of this process from others of the same user; disable core dumps.

    Forks inherit this. Programs that are executed do not: each has to call it itself, as early as it can.

    Raises:
        OSError: The kernel refuses.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"this process cannot be closed to others of its user: {os.strerror(error)}")
