"""Run a program, and let nothing of what it has started outlive it: `program_keeper.py HOW COMMAND… [NETWORK]`.

This is a child subreaper (Linux): whatever the program's descendants do, they stay below it. When the program has
ended, when our standard input ends (whoever has started this has died, or wants no more of it), or when the network
has ended, all of them are killed. The exit code is the program's, or 1. Its output goes where ours goes.

HOW is `filtered` or `plain`: whether the system calls are forbidden to the program by which it would get around
Landlock where there are no namespaces. `filtered-networked` and `plain-networked` tell that there is a last argument
NETWORK, a descriptor that becomes readable when the network has ended: `network_launcher` adds it.

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
    sys.path.append(str(Path(__file__).parents[1]))

from machines.runner import inner_box, landlock, system_calls, tree


def _forbid_system_calls() -> None:
    landlock.no_new_privileges()
    system_calls.forbid_to_user_code(namespaces=False)


def _run(command: list[str], *, filtered: bool, network: int | None) -> int:
    """Run the command to its end, or to another reason to stop, and return its exit code."""
    child = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=_forbid_system_calls if filtered else None,  # there is no other thread, so the hook is safe
    )
    with selectors.DefaultSelector() as selector:
        ended = os.pidfd_open(child.pid)
        for descriptor in (0, ended, *([] if network is None else [network])):
            selector.register(descriptor, selectors.EVENT_READ)
        reasons = [key.fd for key, _ in selector.select()]
    code = child.wait() if ended in reasons else 1
    return code if code >= 0 else 128 - code


def main() -> NoReturn:
    """Run the program; see the module's docstring."""
    how, *command = sys.argv[1:]
    way, _, networked = how.partition("-")
    network = int(command.pop()) if networked else None
    inner_box.adopt_orphans()
    system_calls.join_new_session_keyring()
    code = 1
    try:
        code = _run(command, filtered=way == "filtered", network=network)
    except OSError as error:
        print(f"{command[0]} does not start: {error.strerror}", file=sys.stderr)  # noqa: T201
    finally:
        tree.kill_all()
    os._exit(code)


if __name__ == "__main__":
    main()
