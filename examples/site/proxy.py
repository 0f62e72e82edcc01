"""A forwarding proxy that asks for credentials: `http://ada:lovelace@127.0.0.1:8402`, or over TLS.

It leads to this machine only, which it knows by one more name than others do, and adds `Via` to the requests that it
can read, so that a site can tell.
"""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from urllib.parse import urlsplit

USER, PASSWORD = "ada", "lovelace"
NAME = "example-proxy"
HIDDEN = "behind-the-proxy.example"
"""A name of this machine that nobody but the proxy can resolve."""

_BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
_HOSTS = ("127.0.0.1", "localhost", HIDDEN)
_OWN_HEADERS = ("connection", "proxy-authorization", "proxy-connection", "via")


class RefusalError(Exception):
    """What is answered instead of forwarding: a status line, and perhaps a header."""


@asynccontextmanager
async def serving(port: int, tls: ssl.SSLContext | None = None) -> AsyncGenerator[str]:
    """Serve on loopback (port 0: a free one) for as long as the block lasts; its URL, with the credentials."""
    connections: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        connections.add(task)
        try:
            await _serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass  # one of the two sides is gone
        finally:
            connections.discard(task)
            writer.close()

    goodbye = None if tls is None else 1.0  # seconds; browsers do not always say it
    server = await asyncio.start_server(connected, "127.0.0.1", port, ssl=tls, ssl_shutdown_timeout=goodbye)
    try:
        scheme = "http" if tls is None else "https"
        yield f"{scheme}://{USER}:{PASSWORD}@127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in connections:
            task.cancel()
        await server.wait_closed()


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One connection, one request; whoever has more to ask connects again."""
    try:
        method, target, headers = _read(await reader.readuntil(b"\r\n\r\n"))
        if headers.get("proxy-authorization") != _BASIC:
            raise RefusalError("407 Proxy Authentication Required\r\nProxy-Authenticate: Basic realm=example")
        upstream, to_upstream = await _connect(f"//{target}" if method == "CONNECT" else target)
    except RefusalError as refusal:
        writer.write(f"HTTP/1.1 {refusal}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n".encode())
        await writer.drain()
        return
    try:
        if method == "CONNECT":
            writer.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        else:
            to_upstream.write(_forwarded(method, target, headers))
        await _pass_on(reader, to_upstream, upstream, writer)
    finally:
        to_upstream.close()


def _read(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Method, target and headers, their names in lower case."""
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    try:
        method, target, _ = first.split(" ")
    except ValueError:
        raise RefusalError("400 Bad Request") from None
    return method, target, {name.lower(): text.strip() for name, _, text in (line.partition(":") for line in lines)}


async def _connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or 80
    except ValueError:
        raise RefusalError("400 Bad Request") from None
    if host not in _HOSTS:
        raise RefusalError("403 Forbidden")
    try:
        return await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        raise RefusalError("502 Bad Gateway") from None


def _forwarded(method: str, target: str, headers: dict[str, str]) -> bytes:
    parts = urlsplit(target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = {name: text for name, text in headers.items() if name not in _OWN_HEADERS}
    lines = [f"{name}: {text}" for name, text in {**kept, "via": f"1.1 {NAME}", "connection": "close"}.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode("latin-1")


async def _pass_on(
    reader: asyncio.StreamReader,
    to_upstream: asyncio.StreamWriter,
    upstream: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Both ways, until one side has ended."""
    ways = {asyncio.create_task(_copy(reader, to_upstream)), asyncio.create_task(_copy(upstream, writer))}
    try:
        done, _ = await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
    for way in done:
        way.result()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(64 * 1024):
        writer.write(data)
        await writer.drain()
