"""Both ends of the socket between worker and child."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from machines import message_channel
from machines.message_channel import MessageChannel
from machines.runner.channel import Channel

TEXT = st.text(st.characters(), max_size=50)  # lone surrogates and NUL among them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
MESSAGES = st.lists(st.dictionaries(TEXT.filter(lambda name: name not in {"self", "kind", "type"}), JSON), max_size=5)


@asynccontextmanager
async def wire() -> AsyncGenerator[tuple[MessageChannel, socket.socket]]:
    """The worker's end, and the other one as it is."""
    ours, theirs = socket.socketpair()
    end = await MessageChannel.over(ours)
    try:
        with theirs:
            yield end, theirs
    finally:
        end.close()


@asynccontextmanager
async def both() -> AsyncGenerator[tuple[MessageChannel, Channel]]:
    async with wire() as (worker, theirs):
        child = await Channel.over(theirs)
        try:
            yield worker, child
        finally:
            child.close()


@settings(deadline=None, max_examples=40)
@given(messages=MESSAGES)
async def test_every_message_arrives_as_it_was_sent_in_both_directions(messages: list[dict[str, Any]]) -> None:
    async with both() as (worker, child):
        for message in messages:
            child.post("note", **message)
            await worker.send(message)
        await child.flush()
        for message in messages:
            assert await worker.receive() == {"type": "note", **message}
            assert await child.receive() == message


async def test_a_message_may_be_larger_than_the_sockets_buffer_and_come_in_pieces() -> None:
    message = {"text": "ä" * 3_000_000}
    async with both() as (worker, child):
        sending = asyncio.create_task(worker.send(message))
        assert await child.receive() == message
        await sending


async def test_the_end_of_one_side_is_no_message_at_the_other() -> None:
    async with both() as (worker, child):
        worker.close()
        assert await child.receive() is None
    async with wire() as (worker, theirs):
        theirs.close()
        assert await worker.receive() is None


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x00\x00",
        b"\x00\x00\x00\x05{}",
        b"\x00\x00\x00\x02[[",
        b"\x00\x00\x00\x02\xff\xfe",
        b"\x00\x00\x00\x00",
        struct.pack(">I", message_channel.LARGEST + 1),
        b"\xff" * 100,
        struct.pack(">I", 100_000) + b"[" * 100_000,
    ],
)
async def test_a_broken_frame_is_the_end(nonsense: bytes) -> None:
    async with wire() as (worker, theirs):
        theirs.sendall(nonsense)
        theirs.shutdown(socket.SHUT_WR)
        assert await worker.receive() is None


async def test_to_send_to_nobody_is_an_error() -> None:
    async with wire() as (worker, theirs):
        theirs.close()
        with pytest.raises(ConnectionError):
            await worker.send({"text": "x" * 1_000_000})
