"""An Attempt's proxy may speak SOCKS5."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator

import pytest

from machines.attempt_spec import Proxy
from tests.support.machines import Run, value

PROJECT = {
    "api/title.py": """
        async def automation(page, params):
            await page.goto(params["url"])
            return await page.title()
    """
}


class Socks:
    """A SOCKS5 server that answers every request itself, whatever host is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            _, methods = await reader.readexactly(2)
            await reader.readexactly(methods)
            writer.write(b"\x05\x00")  # no authentication
            _, _, _, kind = await reader.readexactly(4)
            assert kind == 3, "the name is resolved by the proxy, not here"
            (length,) = await reader.readexactly(1)
            self.asked.append((await reader.readexactly(length)).decode())
            struct.unpack(">H", await reader.readexactly(2))
            writer.write(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
            await reader.readuntil(b"\r\n\r\n")
            body = b"<title>Through SOCKS</title>"
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n")
            writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))
            await writer.drain()
        except asyncio.IncompleteReadError:
            pass  # the browser tried a connection and let go of it
        finally:
            writer.close()


@pytest.fixture(scope="module")
async def socks() -> AsyncIterator[tuple[Socks, str]]:
    made = Socks()
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0)
    async with server:
        yield made, f"socks5://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_pages_come_through_a_socks_proxy_that_resolves_their_names(quiet: Run, socks: tuple[Socks, str]) -> None:
    server, address = socks
    report = await quiet("title", {"url": "http://somewhere.invalid/"}, proxy=Proxy(server=address))
    assert value(report) == "Through SOCKS"
    assert "somewhere.invalid" in server.asked
