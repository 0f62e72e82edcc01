"""Tries to leave an image of a process's memory, by itself and by whatever program of the host takes them."""

import os
import resource
import signal
from pathlib import Path


def crash():
    """Crash in a program of the host's, which is not closed to inspection as forks of this process are."""
    os.execv("/bin/sh", ["sh", "-c", f"kill -{int(signal.SIGSEGV)} $$"])


async def automation(page, params):
    try:
        resource.setrlimit(resource.RLIMIT_CORE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    except (ValueError, OSError):
        pass
    if (pid := os.fork()) == 0:
        crash()
    _, status = os.waitpid(pid, 0)
    return {
        "signal": os.WTERMSIG(status),
        "dumped": os.WCOREDUMP(status),
        "files": [str(path) for place in (Path.cwd(), Path("/tmp")) for path in place.glob("*core*")],
        "limit": resource.getrlimit(resource.RLIMIT_CORE),
    }
