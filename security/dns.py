"""Names to addresses, without holding up anybody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Awaitable, Callable
from contextlib import suppress

Resolve = Callable[[str, int], Awaitable[list[str]]]
"""Host and port to addresses, in the order in which they should be tried. Raises socket.gaierror."""


async def resolve(host: str, port: int) -> list[str]:
    """Ask as every program of this host asks (`getaddrinfo`: files, then DNS).

    On a thread of its own that nobody waits for: a name server that does not answer keeps it for half a minute, and
    that must hold up neither the event loop's few threads, nor others who ask, nor the end of the process.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[list[str]] = loop.create_future()

    def settle(found: list[str], error: Exception | None) -> None:
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
        with suppress(RuntimeError):  # the loop has ended meanwhile
            loop.call_soon_threadsafe(settle, found, failed)

    threading.Thread(target=ask, name=f"resolve {host}", daemon=True).start()
    return await answer
