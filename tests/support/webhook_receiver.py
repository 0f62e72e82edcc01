"""A receiver of deliveries: a real HTTP server on loopback that does as it is told, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

Reply = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
"""What is done with a request that was read."""

PATIENCE = 60.0


@dataclass(frozen=True)
class Received:
    """One request."""

    method: str
    target: str
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes
    at: float
    """On the clock of `time.time`."""


def answers(status: str = "200 OK", body: bytes = b"thanks", **headers: str) -> Reply:
    """An answer like `200 OK`; names of headers with `_` for `-`."""
    named = {"content-length": str(len(body)), **{name.replace("_", "-"): value for name, value in headers.items()}}
    lines = [f"HTTP/1.1 {status}", *(f"{name}: {value}" for name, value in named.items()), "", ""]

    async def reply(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write("\r\n".join(lines).encode() + body)
        await writer.drain()

    return reply


async def hangs(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Never answers; ends when the sender does."""
    await reader.read()


async def resets(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Ends the connection rudely (RST)."""
    own: socket.socket = writer.get_extra_info("socket")
    own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def closes(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Has read everything, and closes politely."""


async def speaks_nonsense(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01 this is not HTTP\r\n\r\n")
    await writer.drain()


@dataclass
class Receiver:
    """Where it is, and what has come. With no script left, its last reply is repeated."""

    url: str
    script: list[Reply]
    received: list[Received] = field(default_factory=list[Received])
    connections: int = 0
    close: Callable[[], Awaitable[None]] = field(init=False)
    """Listen no longer, and leave whoever is connected."""
    _came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def port(self) -> int:
        return int(self.url.rpartition(":")[2])

    async def until(self, count: int) -> Sequence[Received]:
        """Wait until so many requests have come."""
        async with asyncio.timeout(PATIENCE):
            while len(self.received) < count:
                self._came.clear()
                await self._came.wait()
        return self.received

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            request = await _read(reader)
            reply = self.script.pop(0) if len(self.script) > 1 else self.script[0]
            self.received.append(request)
            self._came.set()
            await reply(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # the sender is gone
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()


@asynccontextmanager
async def receiver(*script: Reply, port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncGenerator[Receiver]:
    """It listens for as long as the block lasts; it answers 200 if nothing else is said."""
    inbox = Receiver("", list(script) or [answers()])
    serving: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        serving.add(task)
        try:
            await inbox.serve(reader, writer)
        finally:
            serving.discard(task)

    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls)
    scheme = "http" if tls is None else "https"
    inbox.url = f"{scheme}://127.0.0.1:{server.sockets[0].getsockname()[1]}"

    async def close() -> None:
        server.close()
        for task in serving:
            task.cancel()
        await asyncio.gather(*serving, return_exceptions=True)

    inbox.close = close
    try:
        yield inbox
    finally:
        await close()


async def _read(reader: asyncio.StreamReader) -> Received:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").rstrip().split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Received(method, target, headers, body, time.time())
