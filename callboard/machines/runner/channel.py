"""Messages over a socket: four bytes of length, big-endian, then one JSON object.

The supervisor speaks so with the worker and with the process of user code. A request has a number, and so has the
message of the type `answer` that answers it.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import socket
import struct
from collections.abc import AsyncGenerator
from typing import Any

LARGEST = 128 * 1024 * 1024
"""Most bytes of a message that is taken. Parameters and results are far smaller."""
MOST_OPEN = 16
"""Most requests of an Attempt that wait for their answers at the same time (docs/contract.md, section 3.2)."""


class Channel:
    """One end of the connection, for messages in both directions."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)
        self._open: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.messages = self._receive()
        """The messages that come, without answers to requests. They end when the other side has ended, or has written
        what is no message."""

    @classmethod
    async def over(cls, end: socket.socket) -> Channel:
        """Return the connection over one end of a socket pair, which it takes over."""
        reader, writer = await asyncio.open_unix_connection(sock=end)
        return cls(reader, writer)

    def post(self, kind: str, /, **fields: Any) -> None:
        """Queue a message; it is written as soon as the socket accepts it."""
        body = json.dumps({"type": kind, **fields}).encode()
        self._writer.write(struct.pack(">I", len(body)) + body)

    async def send(self, kind: str, /, **fields: Any) -> None:
        """Send a message, and wait until it is on its way. Raises ConnectionError if the other side is gone."""
        self.post(kind, **fields)
        await self._writer.drain()

    async def ask(self, kind: str, /, **fields: Any) -> dict[str, Any]:
        """Send a request, and return the message that answers it. Somebody must read `messages` meanwhile."""
        number = next(self._numbers)
        answer = self._open[number] = asyncio.get_running_loop().create_future()
        try:
            self.post(kind, number=number, **fields)
            return await answer
        finally:
            del self._open[number]

    def close(self) -> None:
        """Close this end."""
        self._writer.close()

    async def _receive(self) -> AsyncGenerator[dict[str, Any]]:
        while True:
            try:
                (length,) = struct.unpack(">I", await self._reader.readexactly(4))
                if length > LARGEST:
                    return
                message = json.loads(await self._reader.readexactly(length))
            except (asyncio.IncompleteReadError, ConnectionError, ValueError, RecursionError):
                return
            answered = self._open.get(message["number"]) if message["type"] == "answer" else None
            if answered is None:
                yield message
            elif not answered.done():
                answered.set_result(message)
