"""Join two connections: what comes from one is passed on to the other, no faster than that one takes it."""

from __future__ import annotations

import asyncio

from .dialing import Stream

_CHUNK = 64 * 1024
_HALF_CLOSED_WITHIN = 60.0
"""Seconds that a side gets to end, too, once the other one has. Nobody may be left who waits for it."""


async def splice(one: Stream, other: Stream) -> None:
    """Pass on bytes in both directions until both sides have ended, or one has broken off. The caller closes them."""
    directions = {
        asyncio.create_task(_pass_on(one, other), name="splice"),
        asyncio.create_task(_pass_on(other, one), name="splice"),
    }
    try:
        ended, _ = await asyncio.wait(directions, return_when=asyncio.FIRST_COMPLETED)
        if all(direction.result() for direction in ended):
            await asyncio.wait(directions, timeout=_HALF_CLOSED_WITHIN)
    finally:
        for direction in directions:
            direction.cancel()
        await asyncio.wait(directions)


async def _pass_on(source: Stream, sink: Stream) -> bool:
    """Pass on until the source ends, and tell the sink so. Return whether it may still answer."""
    try:
        while data := await source.reader.read(_CHUNK):
            sink.writer.write(data)
            await sink.writer.drain()
        if sink.writer.can_write_eof():  # TLS has no half of a connection
            sink.writer.write_eof()
    except OSError:
        return False
    return True
