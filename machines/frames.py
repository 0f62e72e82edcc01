"""Messages between worker and child: four bytes of length, big-endian, then one JSON object.

The child's side of the same is `machines.runner.channel`, which may import nothing of ours.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
from typing import Any

LARGEST = 64 * 1024 * 1024
"""Bytes. A result is refused in the child at 2 MiB; a larger frame than this is not ours."""


class Frames:
    """The worker's end of one child's socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Frames:
        """Take over the socket."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    async def send(self, message: dict[str, Any]) -> None:
        """Write one message. Raises ConnectionError if the child is gone."""
        body = json.dumps(message).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)
        await self._writer.drain()

    async def receive(self) -> dict[str, Any] | None:
        """The next message; None when the child has closed its end (it has ended, or is made to), or wrote nonsense."""
        try:
            (length,) = struct.unpack(">I", await self._reader.readexactly(4))
            if length > LARGEST:
                return None
            return json.loads(await self._reader.readexactly(length))
        except (asyncio.IncompleteReadError, ConnectionError, ValueError):
            return None

    def close(self) -> None:
        """Close our end; the child takes that as its end too."""
        self._writer.close()
