"""A connection that can be cut: a TCP proxy on loopback between one part and what it needs."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Literal

How = Literal["refused", "silent"]
"""Whether connections are reset and refused, or stay and carry nothing."""


class Line:
    """The connections of one part to one server."""

    def __init__(self, port: int, target: int) -> None:
        self.port = port
        self._target = target
        self._refused = False
        self._passing = asyncio.Event()
        self._passing.set()
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    @classmethod
    @asynccontextmanager
    async def to(cls, target: int, port: int) -> AsyncGenerator[Line]:
        """Listen on `port`, and lead to the port `target`, until the block ends."""
        line = cls(port, target)
        server = await asyncio.start_server(line._connected, "127.0.0.1", port)
        try:
            yield line
        finally:
            server.close()
            for task in list(line._connections):
                task.cancel()
            await asyncio.gather(*line._connections, return_exceptions=True)

    def cut(self, how: How) -> None:
        """Let nothing through until `mend`."""
        if how == "silent":
            self._passing.clear()
            return
        self._refused = True
        for writer in self._connections.values():
            _reset(writer)

    def mend(self) -> None:
        """Let everything through again, also what was held back."""
        self._refused = False
        self._passing.set()

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if self._refused or task is None:
            _reset(writer)
            return
        self._connections[task] = writer
        try:
            with suppress(OSError):  # one side is gone
                await self._carry(reader, writer)
        finally:
            del self._connections[task]
            writer.close()
            await _closed(writer)

    async def _carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._passing.wait()
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pumps = {
            asyncio.create_task(self._pump(reader, far_writer)),
            asyncio.create_task(self._pump(far_reader, writer)),
        }
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            far_writer.close()
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
            await _closed(far_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65_536):
            await self._passing.wait()
            writer.write(data)
            await writer.drain()


async def _closed(writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # the other side is gone
        await writer.wait_closed()


def _reset(writer: asyncio.StreamWriter) -> None:
    """End the connection at once, so that the other side sees an error (RST)."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
