"""Resolve host names without blocking anything else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Function that resolves host and port to addresses, in the order in which they should be tried. Raises
socket.gaierror."""


async def resolve(host: str, port: int) -> list[str]:
    """Resolve a name as every program of this host does (`getaddrinfo`: files, then DNS).

    This runs on a thread of its own that nobody waits for: a name server that does not answer blocks it for half a
    minute, and that must delay neither the few threads of the event loop, nor other lookups, nor the end of the
    process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def resolve_future(found: list[str], error: Exception | None) -> None:
        if not answer.done():  # nobody may be waiting any more
            if error is None:
                answer.set_result(found)
            else:
                answer.set_exception(error)

    def ask() -> None:
        found: list[str] = []
        failed: Exception | None = None
        try:
            found = [str(each[4][0]) for each in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]
        except (OSError, UnicodeError) as error:
            failed = error
        with suppress(RuntimeError):  # the event loop has ended meanwhile
            loop.call_soon_threadsafe(resolve_future, found, failed)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer
