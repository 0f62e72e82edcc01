"""The live pictures of one Attempt, as its Machine sends them over a socket in the Attempt's folder, and hands on it.

The Machine is read once, however many views there are of the Attempt, in one api or in several.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import os
import struct
import time
from collections.abc import AsyncGenerator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from activities.attempts.live_control import Control
from activities.attempts.takeovers import Takeovers
from callboard.schemas.workflow.live import LiveAction, LiveAnswer, LiveHolder, LiveOrder, LiveOutcome, LiveState
from callboard.security.live_records import PICTURE_LIMIT

_SOCKET = "live.sock"
_LENGTH = struct.Struct(">I")
_ACTED_WITHIN = 6.0
"""Most seconds that a Machine has for the events of one order."""
_UNKNOWN = "Its worker is of an earlier version than the api, and does not know how."

_OVER = "The question that you have a link to is over."


class CastEndedError(Exception):
    """The Attempt has ended, or shows nothing any more."""


class LiveCast:
    """What one Attempt shows. It is connected to the Machine as long as there are views."""

    def __init__(self, folder: Path, takeovers: Takeovers) -> None:
        self._folder = folder
        self._takeovers = takeovers
        self._connecting = asyncio.Lock()
        self._writer: asyncio.StreamWriter | None = None
        """The connection to the Machine, if there is one."""
        self._reading: asyncio.Task[None] | None = None
        self._views: set[asyncio.Task[None]] = set()
        self._number = 0
        self._picture = b""
        self._changed = asyncio.Event()
        """Set, and replaced, whenever there is something new."""
        self._state_number = 1
        self._asks: dict[str, Any] | None = None
        self._control = Control(self._freed)
        self._handed_over = set[str]()
        """The ids of open Handoffs with which user code waits for what somebody does in the browser."""
        self._letting_go: set[asyncio.Task[None]] = set()
        self._ids = itertools.count(1)
        self._acting: dict[int, asyncio.Future[bool]] = {}
        """What the Machine has not answered yet: whether the page has taken the events."""

    async def show(self, view: Coroutine[None, None, None]) -> bool:
        """Run a view until it is over, in a task of its own. Return False, without running it, if nothing is shown."""
        async with self._connecting:
            if self._writer is None and not await self._connect():
                view.close()
                return False
        task = asyncio.create_task(view, name="live view")
        self._views.add(task)
        task.add_done_callback(self._forget)
        return True

    async def next_picture(self, after: int) -> tuple[int, bytes]:
        """Return the newest picture and its number, once that is greater than `after`.

        The number is of the clock, so that it grows from one connection to the Machine to the next, too.

        Raises:
            CastEndedError: There is none any more.
        """
        await self._until(lambda: self._number > after)
        return self._number, self._picture

    async def next_state(self, after: int) -> tuple[int, LiveState]:
        """Return who has the browser and what it asks, and the number of this state, once that is after `after`.

        Raises:
            CastEndedError: Nothing is shown any more.
        """
        await self._until(lambda: self._state_number > after)
        return self._state_number, LiveState(holder=self._control.holder, asks=self._asks)

    def ask_for_next(self) -> None:
        """Tell the Machine that the last picture was taken, so that the browser makes another one."""
        self._send({"kind": "taken"})

    async def do(self, order: LiveOrder) -> LiveAnswer:
        """Do what somebody wants who watches, and say what became of it."""
        match order.action:
            case LiveAction.TAKE:
                answer = await self._take(order.by)
            case LiveAction.GIVE:
                answer = self._control.give(order.by)
                await self._let_go()
            case LiveAction.INPUT:
                refusal = self._control.renew(order.by)
                if refusal is None and not self._takeovers.is_held:
                    refusal = LiveAnswer(outcome=LiveOutcome.NOT_HELD)
                answer = refusal or LiveAnswer(outcome=await self._act(order.events))
            case _:
                answer = LiveAnswer(outcome=LiveOutcome.REFUSED, reason=_UNKNOWN)
        return answer.model_copy(update={"id": order.id})

    @asynccontextmanager
    async def handed_over(self, handoff_id: str) -> AsyncGenerator[None]:
        """Note that user code hands the browser over within the block. At its end, whoever has the browser loses it.

        Its calls do not wait meanwhile: it waits itself, and may ask the browser whether the person is done.
        """
        self._handed_over.add(handoff_id)
        self._takeovers.calls_wait = False
        try:
            await self._takeovers.renew()
            yield
        finally:
            self._handed_over.discard(handoff_id)
            self._takeovers.calls_wait = not self._handed_over
            self._control.free()
        await self._let_go()

    async def _take(self, by: LiveHolder) -> LiveAnswer:
        await self._let_go()
        if by.handoff is not None and by.handoff not in self._handed_over:
            return LiveAnswer(outcome=LiveOutcome.REFUSED, reason=_OVER)
        answer = self._control.take(by)
        if answer.outcome is not LiveOutcome.DONE:
            return answer
        reason = await self._takeovers.begin(by.name)
        if (refusal := self._control.renew(by)) is not None:  # it was freed meanwhile
            return refusal
        if reason is not None:
            self._control.free()
            return LiveAnswer(outcome=LiveOutcome.REFUSED, reason=reason)
        self._note_state()
        return answer

    async def _let_go(self) -> None:
        """Wait until user code goes on, if somebody had the browser and has it no more."""
        if self._letting_go:
            await asyncio.wait(self._letting_go)

    async def _act(self, events: list[dict[str, Any]]) -> LiveOutcome:
        if not events:
            return LiveOutcome.DONE
        number, acted = next(self._ids), asyncio.get_running_loop().create_future()
        self._acting[number] = acted
        try:
            self._send({"kind": "input", "id": number, "events": events})
            async with asyncio.timeout(_ACTED_WITHIN):
                return LiveOutcome.DONE if await acted else LiveOutcome.NOT_TAKEN
        except TimeoutError:
            return LiveOutcome.NOT_TAKEN
        finally:
            del self._acting[number]

    async def close(self) -> None:
        """End all views, and leave the Machine."""
        self._control.free()
        tasks = [*self._views, *self._letting_go, *([] if self._reading is None else [self._reading])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _freed(self) -> None:
        self._note_state()
        task = asyncio.create_task(self._takeovers.end(), name="end of a takeover")
        self._letting_go.add(task)
        task.add_done_callback(self._letting_go.discard)

    def _note_state(self) -> None:
        self._state_number += 1
        self._tell()

    def _forget(self, view: asyncio.Task[None]) -> None:
        self._views.discard(view)
        if not self._views and self._writer is not None:
            self._writer.close()  # which ends the reading, too
            self._writer = None

    async def _connect(self) -> bool:
        try:
            reader, self._writer = await _connected(self._folder)
        except OSError:
            return False
        self._reading = asyncio.create_task(self._read(reader, self._writer), name="live pictures")
        return True

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while True:
                    (length,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                    if length > PICTURE_LIMIT:
                        return  # a Machine sends none: something else speaks
                    message = await reader.readexactly(length)
                    if message.startswith(b"{"):  # no picture begins so
                        self._note(json.loads(message))
                        continue
                    self._picture = message
                    self._number = max(self._number + 1, time.time_ns() // 1_000_000)
                    self._tell()
        finally:
            writer.close()
            if self._writer is writer:
                self._writer = None
            self._asks = None
            self._tell()

    def _note(self, message: dict[str, Any]) -> None:
        """Note what the Machine says: what the page asks, or whether it has taken events."""
        if message["kind"] == "asks":
            self._asks = message["asks"]
            self._note_state()
        elif (acted := self._acting.get(message["id"])) is not None and not acted.done():
            acted.set_result(message["taken"])

    def _send(self, message: dict[str, object]) -> None:
        if self._writer is not None and not self._writer.is_closing():
            text = json.dumps(message, ensure_ascii=False).encode()
            self._writer.write(_LENGTH.pack(len(text)) + text)

    def _tell(self) -> None:
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def _until(self, holds: Callable[[], bool]) -> None:
        """Wait until `holds()`. Raises CastEndedError."""
        while self._writer is not None and not holds():
            await self._changed.wait()
        if self._writer is None:
            raise CastEndedError


async def _connected(folder: Path) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Connect to the Machine through a descriptor of the folder, whose path may be too long for a socket's address."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return await asyncio.open_unix_connection(f"/proc/self/fd/{descriptor}/{_SOCKET}")
    finally:
        os.close(descriptor)
