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
        port = _free_port() if self._node["isDebuggable"] else None
        setup = json.dumps({**self._node["setup"], "guarded": self._guarded, "debugPort": port})
        node, *arguments = self._node["command"]
        command = [node, *_debugging(port), *arguments, str(control), str(browser), setup]
        os.execve(command[0], command, {**os.environ, **self._node["environment"]})  # noqa: S606


def main(fd: int) -> None:
    """Serve the supervisor over the socket `fd`."""
    # Where the supervisor is gone, somebody else says why, and those words must be the last ones.
    with contextlib.suppress(ConnectionError):
        zygote.serve(fd, NodeCode)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


def _debugging(port: int | None) -> list[str]:
    """Return the arguments by which a Node.js opens its debugger on a signal, at this port, or (None) does not.

    Its address is asked of it (see `inspector`), instead of being printed into the Attempt's log.
    """
    if port is None:
        return ["--disable-sigusr1"]
    return [f"--inspect-port=127.0.0.1:{port}", "--inspect-publish-uid=http"]
