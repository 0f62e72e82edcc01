"""The processes of a Machine, found from outside by what they were started as."""

from __future__ import annotations

import os
import select
import signal

from callboard.machines import keeper
from callboard.machines.runner import process_tree
from tests.support.polling import until

BROWSER = "--user-data-dir="
NODE = "run-driver"
SUPERVISOR = "\0supervisor\0"
ZYGOTE = "\0zygote\0"
USER = "the process of user code"
KEEPER = "keeper.py"


def find_process(keeper_pid: int, command: str) -> int:
    """The process of the Machine with this keeper whose command line holds this; LookupError if there is none.

    What only starts it, such as bubblewrap or Debian's script around its browser, is none.
    """
    if command == KEEPER:
        return keeper_pid
    if command == USER:  # the last one below the zygote, whose command line it has
        return keeper.descendants(find_process(keeper_pid, ZYGOTE))[-1]
    for pid in keeper.descendants(keeper_pid):
        line = process_tree.read(f"/proc/{pid}/cmdline").decode(errors="replace")
        if command in line and not line.startswith(("/bin/sh", "/usr/bin/bwrap")):
            return pid
    raise LookupError(command)


async def kill(pid: int) -> None:
    """Kill a process, and wait until it has ended: until then it may go on with what it does."""
    descriptor = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
        await until(lambda: select.select([descriptor], [], [], 0)[0])
    finally:
        os.close(descriptor)
