"""Messages over a socket: four bytes of length, big-endian, then one JSON object.

The supervisor speaks so with the worker, whose side is `machines.message_channel`, and with the process of user code.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

LARGEST = 128 * 1024 * 1024
"""Most bytes of a message that is taken. Parameters and results are far smaller."""


class Channel:
    """One end of the connection, for messages in both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Return the connection over one end of a socket pair, which it takes over."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def post(self, kind: str, /, **fields: Any) -> None:
        """Queue a message; it is written as soon as the socket accepts it."""
        body = json.dumps({"type": kind, **fields}).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)

    async def flush(self) -> None:
        """Wait until what was queued is on its way."""
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message; None if the other side has ended, or has written what is no message."""
        try:
            (length,) = struct.unpack(">I", await self._reader.readexactly(4))
            if length > LARGEST:
                return None
            return json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            return None

    def close(self) -> None:
        """Close this end."""
        self._writer.close()
