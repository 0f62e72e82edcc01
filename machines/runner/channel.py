"""The child's end of the socket to the worker. A message is four bytes of length, big-endian, then one JSON object."""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any


class Channel:
    """The connection to the worker, for messages in both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, fd: int) -> Channel:
        """Return the connection over the inherited descriptor `fd`, which it takes over."""
        reader, writer = await asyncio.open_unix_connection(sock=socket.socket(fileno=fd))
        return cls(reader, writer)

    def post(self, kind: str, **fields: Any) -> None:
        """Queue a message; it is written as soon as the socket accepts it."""
        body = json.dumps({"type": kind, **fields}).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)

    async def flush(self) -> None:
        """Wait until what was queued is on its way."""
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message, or None when the worker has ended."""
        try:
            (length,) = struct.unpack(">I", await self._reader.readexactly(4))
            return json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError):
            return None
