"""A line carries everything, until it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from callboard.dev import ports
from tests.chaos.lines import Line


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with suppress(ConnectionError):
            while data := await reader.read(100):
                writer.write(data)
    finally:
        writer.close()


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    """A line to a server that sends back what it gets."""
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    target = server.sockets[0].getsockname()[1]
    async with Line.to(target, ports.choose_ports({"--port": 0})["--port"]) as line:
        yield line
    server.close()
    await server.wait_closed()


@asynccontextmanager
async def connected(line: Line) -> AsyncGenerator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", line.port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def test_what_is_sent_arrives_and_comes_back(line: Line) -> None:
    async with connected(line) as (reader, writer):
        writer.write(b"hello")
        assert await reader.readexactly(5) == b"hello"


async def test_a_refused_line_resets_its_connections_and_takes_no_new_one(line: Line) -> None:
    async with connected(line) as (reader, writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        line.cut("refused")
        with pytest.raises(ConnectionError):
            await reader.readexactly(1)
    async with connected(line) as (late, _):
        with pytest.raises(ConnectionError):
            await late.readexactly(1)
    line.mend()
    async with connected(line) as (reader, writer):
        writer.write(b"again")
        assert await reader.readexactly(5) == b"again"


async def test_a_silent_line_holds_everything_back_until_it_is_mended(line: Line) -> None:
    async with connected(line) as (reader, writer), connected(line) as (other_reader, other_writer):
        writer.write(b"hello")
        await reader.readexactly(5)
        line.cut("silent")
        writer.write(b"held back")
        other_writer.write(b"late")
        answers = [asyncio.create_task(reader.readexactly(9)), asyncio.create_task(other_reader.readexactly(4))]
        done, _ = await asyncio.wait(answers, timeout=0.2)
        assert done == set()
        line.mend()
        assert await asyncio.gather(*answers) == [b"held back", b"late"]
