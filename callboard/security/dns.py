"""Resolve host names without blocking anything else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import Future

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Function that resolves host and port to addresses, in the order in which they should be tried. Raises
socket.gaierror."""


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a name as every program of this host does (`getaddrinfo`: files, then DNS).

    This runs on a thread of its own that nobody waits for: a name server that does not answer blocks it for half a
    minute, and that must delay neither the few threads of the event loop, nor other lookups, nor the end of the
    process.
    """
    answer = Future[list[str]]()
    answer.set_running_or_notify_cancel()  # so that a caller who leaves does not cancel it under the thread's hands

    def ask() -> None:
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            answer.set_exception(error)
        else:
            answer.set_result(found)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await asyncio.wrap_future(answer)
