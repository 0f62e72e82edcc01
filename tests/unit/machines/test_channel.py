"""Messages, requests and answers over a socket, as worker, supervisor and user code exchange them."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import pytest

from callboard.machines.runner.channel import LARGEST, Channel


@asynccontextmanager
async def wire() -> AsyncGenerator[tuple[Channel, socket.socket]]:
    """One end as a channel, and the other one as it is."""
    ours, theirs = socket.socketpair()
    end = await Channel.over(ours)
    try:
        with theirs:
            yield end, theirs
    finally:
        end.close()


@asynccontextmanager
async def both() -> AsyncGenerator[tuple[Channel, Channel]]:
    async with wire() as (worker, theirs):
        child = await Channel.over(theirs)
        try:
            yield worker, child
        finally:
            child.close()


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x00",
        b"\x00\x00\x00\x05{}",
        b"\x00\x00\x00\x02[[",
        b"\x00\x00\x00\x02\xff\xfe",
        b"\x00\x00\x00\x00",
        struct.pack(">I", LARGEST + 1),
        b"\xff" * 100,
        struct.pack(">I", 100_000) + b"[" * 100_000,
    ],
)
async def test_a_broken_frame_is_the_end(nonsense: bytes) -> None:
    async with wire() as (worker, theirs):
        theirs.sendall(nonsense)
        theirs.shutdown(socket.SHUT_WR)
        assert await anext(worker.messages, None) is None


async def test_each_request_gets_its_answer_and_other_answers_are_messages() -> None:
    async with both() as (worker, child):
        asking = [asyncio.create_task(child.ask("request", key=key)) for key in "ab"]
        first, second = [await anext(worker.messages) for _ in asking]
        for request in (second, first):
            await worker.send("answer", number=request["number"], value=request["key"])
        await worker.send("answer", number=17)
        assert await anext(child.messages) == {"type": "answer", "number": 17}
        assert [(await each)["value"] for each in asking] == ["a", "b"]
