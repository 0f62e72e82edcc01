"""Where a Node.js stands is asked at a port that user code may have taken, to answer whatever it likes."""

from __future__ import annotations

import asyncio
import json
import struct
from typing import Any

import pytest

from callboard.machines.runner import inspector

DEEP = b"[" * 200_000
LISTED = json.dumps([{"id": "here"}]).encode()
PATIENCE = 10.0


def paused(frame: Any) -> bytes:
    return json.dumps({"method": "Debugger.paused", "params": {"callFrames": [{"callFrameId": frame}]}}).encode()


def told(value: Any) -> bytes:
    return json.dumps({"id": 3, "result": {"result": {"value": value}}}).encode()


async def asked(listed: bytes, *messages: bytes) -> str:
    """What is told of a process whose debugger lists this, and then says these messages."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if b"/json/list" in await reader.readuntil(b"\r\n\r\n"):
            writer.write(b"HTTP/1.1 200 OK\r\n\r\n" + listed)
        else:
            framed = [struct.pack(">BBQ", 0x81, 127, len(message)) + message for message in messages]
            writer.write(b"".join([b"HTTP/1.1 101 Switching Protocols\r\n\r\n", *framed]))
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        return await inspector.stack_of(server.sockets[0].getsockname()[1], PATIENCE)


async def test_what_a_debugger_says_is_told():
    assert await asked(LISTED, paused("1.2"), told("    at here")) == "    at here"


@pytest.mark.parametrize(
    "said",
    [
        (DEEP,),
        (json.dumps([{"id": 7}]).encode(),),
        (LISTED, DEEP),
        (LISTED, paused("x" * 70_000), told("")),
        (LISTED, paused({"ordinal": 0}), told("not asked for")),
        (LISTED, paused("1.2"), DEEP),
    ],
    ids=["deep list", "no id", "deep message", "long frame", "no frame", "deep answer"],
)
async def test_nothing_is_told_if_it_says_what_none_would_say(said: tuple[bytes, ...]):
    assert await asked(*said) == ""
