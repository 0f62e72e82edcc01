"""A script that makes a command die with its parent, however the parent dies.

`die_with_parent.py PARENT COMMAND...` becomes COMMAND, which is killed when the process PARENT dies. It is a program of
its own and not a hook between fork and exec: the parent has threads, and no Python code is safe to run in a forked copy
of such a process. It uses the standard library only, and no import that takes time.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel to kill this process when its parent dies, then become the command."""
    parent, command = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    if os.getppid() != parent:
        sys.exit(1)  # The parent died before the kernel had the request.
    os.execv(command[0], command)  # noqa: S606 - to become it, and no shell, is the point


if __name__ == "__main__":
    main()
