"""Where a Node.js stands that blocks, by its own debugger, which it opens on a signal.

Whoever reaches the debugger's port may command the process. So this is only for a Machine with a network of its own, in
which nobody else is; and pages there cannot know the address, which has a random number in it.

What is read here was written by user code, so it may be anything, and its size is limited.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import signal
import struct
from typing import Any, cast

SIGNAL = signal.SIGUSR1
"""Signal on which a Node.js opens its debugger, also if it blocks."""
_STACK = "globalThis[Symbol.for('callboard.runtime')].stack()"
"""What the process is asked for: the text of the stack at which it stands (see `runtime/node/user_process.js`)."""
_LARGEST = 1024 * 1024
"""Most bytes of an answer. Every source that there is makes an event of some hundred bytes."""
_LONGEST_FRAME_ID = 1_000
"""Most characters of the id of a frame, which is sent back. Those of V8 have some ten."""
_TRY_EVERY = 0.01
_TEXT = 0x81
"""First byte of a whole message of text."""
_MASKED, _TWO_BYTES, _EIGHT_BYTES = 0x80, 126, 127


async def stack_of(port: int, within: float) -> str:
    """Return the stack at which the process with its debugger at this port of loopback stands.

    It is empty if the debugger, which may just be opening, does not tell within so many seconds. The process stays
    paused, as it is about to be killed.
    """
    try:
        async with asyncio.timeout(within):
            return await _told(port)
    # Besides a debugger that is not there, these are all that anything which user code says can lead to.
    except (OSError, EOFError, ValueError, LookupError, TypeError, asyncio.LimitOverrunError, RecursionError):
        return ""


async def _told(port: int) -> str:
    reader, writer = await _connected(port)
    try:
        writer.write(b"GET /json/list HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n")
        listed = await reader.read(_LARGEST)
    finally:
        writer.close()
    path = "/" + json.loads(listed.partition(b"\r\n\r\n")[2])[0]["id"]
    reader, writer = await _connected(port)
    try:
        key = base64.b64encode(os.urandom(16)).decode()
        upgrade = f"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}"
        writer.write(f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n{upgrade}\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        _send(writer, 1, "Debugger.enable")
        _send(writer, 2, "Debugger.pause")
        while (message := await _receive(reader)).get("method") != "Debugger.paused":
            pass
        frame = message["params"]["callFrames"][0]["callFrameId"]
        if not isinstance(frame, str) or len(frame) > _LONGEST_FRAME_ID:
            raise ValueError("it is no id of a frame")
        _send(writer, 3, "Debugger.evaluateOnCallFrame", callFrameId=frame, expression=_STACK, returnByValue=True)
        while (message := await _receive(reader)).get("id") != 3:
            pass
        return str(message["result"]["result"]["value"])
    finally:
        writer.close()


async def _connected(port: int) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    while True:
        try:
            return await asyncio.open_connection("127.0.0.1", port, limit=_LARGEST)
        except ConnectionRefusedError:
            await asyncio.sleep(_TRY_EVERY)  # nothing says when it listens


def _send(writer: asyncio.StreamWriter, number: int, method: str, **params: Any) -> None:
    """Send a message, in a frame as a client has it (RFC 6455, section 5.2): masked, here with zeros."""
    body = json.dumps({"id": number, "method": method, "params": params}).encode()
    length = struct.pack(">B", _MASKED | len(body)) if len(body) < _TWO_BYTES else b""
    writer.write(bytes([_TEXT]) + (length or struct.pack(">BH", _MASKED | _TWO_BYTES, len(body))) + bytes(4) + body)


async def _receive(reader: asyncio.StreamReader) -> dict[str, Any]:
    """Return the next message. Raises ValueError if it is none, or too large."""
    _, length = await reader.readexactly(2)
    if length == _TWO_BYTES:
        (length,) = struct.unpack(">H", await reader.readexactly(2))
    elif length == _EIGHT_BYTES:
        (length,) = struct.unpack(">Q", await reader.readexactly(8))
    if length > _LARGEST:
        raise ValueError("a message is too large")
    message: Any = json.loads(await reader.readexactly(length))
    if not isinstance(message, dict):
        raise TypeError("a message is no object")
    return cast("dict[str, Any]", message)
