"""The port that a hook is given leads to the browser, and keeps connections of a process that has ended."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator
from urllib.parse import urlsplit

import pytest

from machines.runner.hook_pages import DebuggingPort
from tests.support.machines import PATIENCE


class Browser:
    """Answers what it is sent, and tells of the end of connections."""

    def __init__(self) -> None:
        self.ended = asyncio.Semaphore(0)
        self.open = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        while data := await reader.read(100):
            writer.write(data.upper())
        self.open -= 1
        self.ended.release()
        writer.close()


@pytest.fixture
async def browser() -> Browser:
    return Browser()


@pytest.fixture
async def port(browser: Browser) -> AsyncIterator[DebuggingPort]:
    async with await asyncio.start_server(browser.serve, "127.0.0.1", 0) as server:
        number = server.sockets[0].getsockname()[1]
        port = await DebuggingPort.start(f"ws://127.0.0.1:{number}/devtools/browser/1")
        assert port.url.endswith("/devtools/browser/1")
        assert f":{number}/" not in port.url
        async with asyncio.timeout(PATIENCE):
            yield port
            await port.close()


@contextlib.asynccontextmanager
async def client(port: DebuggingPort) -> AsyncGenerator[None]:
    reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(port.url).port)
    try:
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"HELLO"
        yield
    finally:
        writer.close()


async def test_a_client_that_closes_its_connection_ends_it_at_the_browser(
    port: DebuggingPort, browser: Browser
) -> None:
    port.begin(lambda: False)
    async with client(port):
        pass
    await browser.ended.acquire()


async def test_one_that_has_ended_keeps_it_until_it_is_released(port: DebuggingPort, browser: Browser) -> None:
    over = asyncio.Event()

    def is_over() -> bool:
        over.set()
        return True

    port.begin(is_over)
    async with client(port):
        pass
    await over.wait()
    async with client(port):  # with an answer to another client, the browser has had a chance to hear of an end
        assert browser.open == 2
    port.release()
    await browser.ended.acquire()


async def test_connections_end_with_the_port(port: DebuggingPort, browser: Browser) -> None:
    async with client(port):
        await port.close()
        await browser.ended.acquire()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", urlsplit(port.url).port)
