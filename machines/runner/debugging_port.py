"""The debugging port of the browser for the project's hook: a relay of bytes.

A browser disposes of the contexts that a client has opened as soon as the client's connection ends. So where the
process of user code has ended by itself, the browser's end of the connection is kept until what is left there is saved.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from urllib.parse import urlsplit

_READ = 64 * 1024


class DebuggingPort:
    """A port on loopback for clients of the browser. `start` opens it; it is open until `close`."""

    def __init__(self, browser: int) -> None:
        self._browser = browser
        self._server: asyncio.Server | None = None
        self.url = ""
        """The WebSocket address for clients."""
        self._connections: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self._is_over: Callable[[], bool] = _never

    @classmethod
    async def start(cls, browser: str) -> DebuggingPort:
        """Open a port that leads to the browser at this WebSocket address. Raises OSError."""
        address = urlsplit(browser)
        if address.port is None:
            raise ValueError(f"{browser} names no port")
        opened = cls(address.port)
        opened._server = await asyncio.start_server(opened._connected, "127.0.0.1", 0)
        opened.url = f"ws://127.0.0.1:{opened._server.sockets[0].getsockname()[1]}{address.path}"
        return opened

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Begin an Attempt. `is_over` says whether its process of user code has ended."""
        self._is_over = is_over
        self._released.clear()

    def release(self) -> None:
        """End the connections that were kept, as everything is saved."""
        self._released.set()

    async def close(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer), name="debugging port")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_browser, to_browser = await asyncio.open_connection("127.0.0.1", self._browser)
        except OSError:  # the browser is gone, and so is the client's connection
            writer.close()
            return
        down = asyncio.create_task(_pass_on(from_browser, writer))
        try:
            up = asyncio.create_task(_pass_on(reader, to_browser))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and self._is_over():
                await self._released.wait()
            up.cancel()
        finally:
            down.cancel()
            writer.close()
            to_browser.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what is read until one of the two ends."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()


def _never() -> bool:
    return False
