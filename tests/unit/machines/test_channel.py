"""Messages, requests and answers over a socket, as worker, supervisor and user code exchange them."""

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

from callboard.machines.runner.channel import LARGEST, Channel

TEXT = st.text(st.characters(), max_size=50)  # lone surrogates and NUL among them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(TEXT, inner, max_size=5),
    max_leaves=20,
)
MESSAGES = st.lists(st.dictionaries(TEXT.filter(lambda name: name != "type"), JSON), max_size=5)


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


@settings(deadline=None, max_examples=40)
@given(messages=MESSAGES)
async def test_every_message_arrives_as_it_was_sent_in_both_directions(messages: list[dict[str, Any]]) -> None:
    async with both() as (worker, child):
        for message in messages:
            child.post("note", **message)
            await worker.send("order", **message)
        for message in messages:
            assert await anext(worker.messages) == {"type": "note", **message}
            assert await anext(child.messages) == {"type": "order", **message}


async def test_a_message_may_be_larger_than_the_socket_s_buffer() -> None:
    text = "ä" * 3_000_000
    async with both() as (worker, child):
        sending = asyncio.create_task(worker.send("note", text=text))
        assert await anext(child.messages) == {"type": "note", "text": text}
        await sending


async def test_the_end_of_one_side_is_no_message_at_the_other() -> None:
    async with both() as (worker, child):
        worker.close()
        assert await anext(child.messages, None) is None
    async with wire() as (worker, theirs):
        theirs.close()
        assert await anext(worker.messages, None) is None


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


async def test_to_send_to_nobody_is_an_error() -> None:
    async with wire() as (worker, theirs):
        theirs.close()
        with pytest.raises(ConnectionError):
            await worker.send("note", text="x" * 1_000_000)


async def test_each_request_gets_its_answer_and_other_answers_are_messages() -> None:
    async with both() as (worker, child):
        asking = [asyncio.create_task(child.ask("request", key=key)) for key in "ab"]
        first, second = [await anext(worker.messages) for _ in asking]
        for request in (second, first):
            await worker.send("answer", number=request["number"], value=request["key"])
        await worker.send("answer", number=17)
        assert await anext(child.messages) == {"type": "answer", "number": 17}
        assert [(await each)["value"] for each in asking] == ["a", "b"]
