"""The zygote of a Machine: a process that has imported what user code needs, and is forked for each Attempt.

It has one thread, so that a fork of it is whole, and does nothing but what the supervisor orders. It is a child
subreaper: whatever an Attempt's process leaves behind becomes a child of the zygote, and is found without a search.

    {"warm": true}, with a socket to the browser   use Playwright once, so that its code is warm   {"warm": true}
    {"import": [name]}                             import modules ahead (see `importing`)          {"imported": true}
    {"fork": true}, with three descriptors         fork a process for user code                    {"pid": number}
    {"end": true}                                  kill that process and all below it              {"status", "left"}

Each order is one packet, and so is its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import threading
from pathlib import Path
from typing import Any

from playwright.async_api import Error as PlaywrightError

from . import user_process
from .importing import Imports
from .playwright_wire import Attached
from .tree import kill_all
from .workspace import set_places

PACKET = 64 * 1024
_PR_SET_CHILD_SUBREAPER = 36


def main(fd: int, packages: Path | None) -> None:
    """Carry out the orders that come over the socket `fd`, until the supervisor ends.

    `packages` is the folder of the project's own packages, if it has any.

    The first packet is no order: it says what every process of user code is told. This returns in the zygote only,
    never in a fork of it.
    """
    orders = socket.socket(fileno=fd)
    _adopt_orphans()
    setup = json.loads(orders.recv(PACKET) or "{}")
    if setup:
        # What is imported ahead and looks for these finds the places that every Attempt has.
        set_places(Path(setup["folder"]))
        # Where the browser or the supervisor is gone, the supervisor says why, and its words must be the last ones.
        with contextlib.suppress(PlaywrightError, ConnectionError):
            _serve(orders, bytes.fromhex(setup["mark"]), Imports(packages), guarded=setup["guarded"])


def _serve(orders: socket.socket, mark: bytes, imports: Imports, *, guarded: bool) -> None:
    pid = 0
    while packet := _receive(orders):
        order, descriptors = packet
        answer: dict[str, Any]
        if "warm" in order:
            asyncio.run(_warm(socket.socket(fileno=descriptors[0])))
            imports.settle()
            answer = {"warm": True}
        elif "import" in order:
            imports.ahead(order["import"])
            answer = {"imported": True}
        elif "fork" in order:
            if threading.active_count() > 1:
                raise RuntimeError("the zygote must have one thread, and has more")
            pid = os.fork()
            if pid == 0:
                orders.close()
                user_process.run(*descriptors, mark=mark, guarded=guarded, imports=imports)
            for descriptor in descriptors:
                os.close(descriptor)
            answer = {"pid": pid}
        else:
            answer = _end(pid)
        orders.send(json.dumps(answer).encode())


def _receive(orders: socket.socket) -> tuple[dict[str, Any], list[int]] | None:
    data, descriptors, _, _ = socket.recv_fds(orders, PACKET, 3, socket.MSG_CMSG_CLOEXEC)
    return (json.loads(data), descriptors) if data else None


def _end(pid: int) -> dict[str, Any]:
    """Kill the process of user code and all below it; return its wait status, and what would not die."""
    os.kill(pid, signal.SIGKILL)  # it is not reaped yet, so the id is still its own
    _, status = os.waitpid(pid, 0)
    return {"status": status, "left": kill_all()}


def _adopt_orphans() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "cannot become a child subreaper")


async def _warm(end: socket.socket) -> None:
    """Use what every automation uses, so that its code is loaded before the first fork.

    Once is enough: to do it again makes no Attempt cheaper, and costs processor time of the driver.
    """
    attached = await Attached.over(end)
    context = await attached.browser.new_context()
    page = await context.new_page()
    await page.goto("data:text/html,<li>1</li>")
    await page.evaluate("() => [1, 'a', {b: 2}]")
    await page.locator("li").count()
    await context.close()
    await attached.close()
