"""Messages between worker and child: four bytes of length, big-endian, then one JSON object.

The child has its own implementation, `machines.runner.channel`, which may import nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

LARGEST = 64 * 1024 * 1024
"""Most bytes of a message. The child refuses results above 2 MiB, so a message larger than this is not ours."""


class MessageChannel:
    """The worker's end of one child's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> MessageChannel:
        """Return the connection over the worker's end of a socket pair, which it takes over."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    async def send(self, message: dict[str, Any]) -> None:
        """Send one message to the child. Raises ConnectionError if the child is gone."""
        body = json.dumps(message).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """Return the next message of the child.

        Return None if the child has closed its end (as it has ended, or is being ended), or wrote what is no message.
        """
        try:
            (length,) = struct.unpack(">I", await self._reader.readexactly(4))
            if length > LARGEST:
                return None
            return json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
            return None

    def close(self) -> None:
        """Close our end of the socket; the child ends when it sees that."""
        self._writer.close()
