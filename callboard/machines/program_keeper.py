"""Run a program, and let nothing of what it has started outlive it.

    program_keeper.py KIND MEMORY COMMAND… [NETWORK]

This is a child subreaper (Linux): whatever the program's descendants do, they stay below it. All of them are killed
when the program has ended, when our standard input ends (the process that has started this has died, or wants to stop
it), when the network has ended, or when they take more than MEMORY bytes or too many processes together. The exit code
is the program's, or 1. Its output goes where ours goes. MEMORY is 0 if there is no limit.

KIND is `networked` or `plain`. The first tells that there is a last argument NETWORK, a descriptor that becomes
readable when the network has ended: `network_launcher` adds it.

This runs on the standard library alone, as it may stand within a network of its own.
"""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

if __name__ == "__main__":
    # A script can import our packages from this folder, after the standard library, and nothing else of ours.
    sys.path.append(str(Path(__file__).parents[2]))

from callboard.machines.machine_limits import MOST_PROCESSES, MOST_THREADS
from callboard.machines.resource_usage import Meter
from callboard.machines.runner import confinement, inner_box, process_tree

ENDED = "ended, as "
"""Beginning of the last line of what is printed if the program is ended by a limit, or for want of its network."""
_LOOK_EVERY = 0.1
"""Seconds between two looks at what a program takes that has a limit."""


def _run(command: list[str], *, memory: int, network: int | None) -> int:
    """Run the command to its end, or to another reason to stop, and return its exit code."""
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
    with selectors.DefaultSelector() as selector:
        ended = os.pidfd_open(child.pid)
        for descriptor in (0, ended, *([] if network is None else [network])):
            selector.register(descriptor, selectors.EVENT_READ)
        meter = Meter(os.getpid())
        reasons = [key.fd for key, _ in selector.select(_LOOK_EVERY if memory else None)]
        while not reasons:
            if (excess := _excess(meter, memory)) is not None:
                print(f"{ENDED}{excess}", file=sys.stderr)  # noqa: T201
                return 1
            reasons = [key.fd for key, _ in selector.select(_LOOK_EVERY)]
    if ended in reasons:
        code = child.wait()
        return code if code >= 0 else 128 - code
    if network in reasons:
        print(f"{ENDED}pasta, its network, has ended", file=sys.stderr)  # noqa: T201
    return 1


def _excess(meter: Meter, memory: int) -> str | None:
    """Measure now, and return what of it is too much, as the end of a sentence; None if nothing is."""
    if meter.look(memory) > memory:
        return f"it took more than {memory // 1024**2} MiB of memory"
    if meter.processes > MOST_PROCESSES or meter.threads > MOST_THREADS:
        return f"it had more than {MOST_PROCESSES} processes or {MOST_THREADS} threads"
    return None


def main() -> NoReturn:
    """Run the program; see the module's docstring."""
    kind, memory, *command = sys.argv[1:]
    network = int(command.pop()) if kind == "networked" else None
    inner_box.adopt_orphans()
    confinement.join_new_session_keyring()
    code = 1
    try:
        code = _run(command, memory=int(memory), network=network)
    except OSError as error:
        print(f"{command[0]} does not start: {error.strerror}", file=sys.stderr)  # noqa: T201
    finally:
        process_tree.kill_all()
    os._exit(code)


if __name__ == "__main__":
    main()
