"""The zygote of user code in TypeScript: each fork of it becomes a Node.js, within the box that was made for it.

It needs no Playwright, and nothing is imported ahead: what Node.js takes to start and to connect, it takes while the
Machine is idle. `runtime/node/user_process.js` is what it runs.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Iterable
from typing import Any, NoReturn

from . import zygote
from .stdio import open_output


class NodeCode:
    """User code in TypeScript."""

    def __init__(self, setup: dict[str, Any]) -> None:
        self._node = setup["node"]
        self._guarded = setup["guarded"]

    def warm(self, browser: socket.socket) -> None:
        """Do nothing: what Node.js has compiled is kept for all Machines of the worker."""
        browser.close()

    def import_ahead(self, names: Iterable[str], variables: frozenset[str]) -> Iterable[str]:
        """Import nothing: no Attempt says that it has imported something."""
        del names, variables
        return ()

    def run(self, control: int, browser: int, stacks: int) -> NoReturn:
        """Become Node.js, which keeps what is restricted here, and the standard streams."""
        os.close(stacks)
        for descriptor in (control, browser):
            os.set_inheritable(descriptor, True)  # noqa: FBT003
        open_output()
        signal.signal(zygote.STACK_SIGNAL, signal.SIG_IGN)  # Node.js would end on it
        setup = json.dumps({**self._node["setup"], "guarded": self._guarded})
        command = [*self._node["command"], str(control), str(browser), setup]
        os.execve(command[0], command, {**os.environ, **self._node["environment"]})  # noqa: S606


def main(fd: int) -> None:
    """Serve the supervisor over the socket `fd`."""
    # Where the supervisor is gone, somebody else says why, and those words must be the last ones.
    with contextlib.suppress(ConnectionError):
        zygote.serve(fd, NodeCode)
