"""The way of user code to the browser: a relay that reads its requests, and refuses what its policy forbids.

The driver acts for whoever speaks to it: it writes files, ends traces and serves further clients. So user code does not
reach its socket. The relay passes on what the driver sends, and reads only the answers that it waits for itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import socket
from collections.abc import Awaitable, Coroutine
from typing import Any

from .playwright_wire import END, frames
from .relay_policy import RelayPolicy

_READ = 256 * 1024
_LARGEST = 512 * 1024 * 1024
"""Most bytes of a message. It may carry the files of an upload."""
_MOST_WAITING = 8 * 1024 * 1024
"""Most bytes of calls that wait here; more wait in user code's process."""
_ASKED_BY_PAGES = ("route@", "websocket-route@", "binding-call@")
"""Beginnings of the ids of what pages ask of user code, and wait for."""
_NO_MESSAGE = (ConnectionError, ValueError, KeyError, TypeError, AttributeError, RecursionError)
"""What is raised by what is no message of Playwright's, or by a side that is gone."""


class Relay:
    """The relay of one user process. It ends with either side, and closes both.

    A context that is being opened is waited for, whoever has asked for it: the driver would still open it if the call
    was given up, and would tell later clients of it, but not the supervisor, which could not close it. So such a call
    cannot be aborted, and the driver's side is closed only once it is answered.
    """

    def __init__(self, policy: RelayPolicy) -> None:
        self._policy = policy
        self._to_driver: asyncio.StreamWriter | None = None
        self._to_user: asyncio.StreamWriter | None = None
        self._opening: dict[str, Any] = {}
        """User code's unanswered calls that open contexts: ids that are ours, and those that user code knows them by.

        User code cannot know ours, so it can neither abort these calls nor have others answered in their place.
        """
        self._tasks: set[asyncio.Task[None]] = set()
        """What is under way for user code. None of it goes on once the relay is closed."""
        self._passing_down: asyncio.Task[None] | None = None
        self._is_closed = False
        self._inside = False
        """Whether the last message of the driver has been passed on in part."""
        self._ours = bytearray()
        """Answers of ours that wait for the rest of that message."""
        self._free = asyncio.Event()
        """Event that is set unless a person has the browser."""
        self._free.set()
        self._waiting = bytearray()
        """User code's calls that wait meanwhile."""

    async def start(self, driver: str, user: socket.socket) -> None:
        """Connect to the driver's socket at the path `driver`, and serve the user process at the other end of `user`.

        Raises:
            OSError: The driver does not listen any more.
        """
        from_driver, self._to_driver = await asyncio.open_unix_connection(driver)
        from_user, self._to_user = await asyncio.open_unix_connection(sock=user)
        self._begin(self._until_closed(self._up(from_user, self._to_driver)))
        down = self._until_closed(self._down(from_driver, self._to_user))
        self._passing_down = asyncio.create_task(down, name="relay")
        self._passing_down.add_done_callback(lambda _: self._close_driver())

    def hold(self) -> None:
        """Have user code's calls wait here, with their timeouts not begun; those that the driver has already go on.

        What user code answers pages by its routes and bindings goes on as well, or they would stand still for the
        person who has the browser. User code is not told of dialogs meanwhile, which are for that person.
        """
        self._free.clear()

    def release(self) -> None:
        """Pass on the calls that have waited, and all that come."""
        self._free.set()
        waiting, self._waiting = bytes(self._waiting), bytearray()
        try:
            for frame in waiting.split(END)[:-1]:
                self._pass_up(frame)
        except _NO_MESSAGE:
            self.close()

    def close(self) -> None:
        """Close both sides, the driver's as soon as no context is being opened. Nothing more is passed on."""
        self._is_closed = True
        self._waiting.clear()
        for task in self._tasks:
            task.cancel()
        if self._to_user is not None:
            self._to_user.transport.abort()
        if not self._opening:
            self._close_driver()

    async def ended(self, within: float) -> bool:
        """Wait, for so many seconds at most, until a closed relay has ended. Return whether nothing is being opened."""
        if self._passing_down is not None:
            await asyncio.wait({self._passing_down}, timeout=within)
        return not self._opening

    def _close_driver(self) -> None:
        if self._to_driver is not None:
            self._to_driver.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, name="relay")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _until_closed(self, passing: Awaitable[None]) -> None:
        """Pass on what comes from one side until it ends, or sends what is no message of Playwright's."""
        try:
            with contextlib.suppress(*_NO_MESSAGE):
                await passing
        finally:
            self.close()

    async def _up(self, reader: asyncio.StreamReader, driver: asyncio.StreamWriter) -> None:
        async for frame in frames(reader, _LARGEST):
            if self._free.is_set() or str(_read_as_driver(frame).get("guid")).startswith(_ASKED_BY_PAGES):
                self._pass_up(frame)
                await driver.drain()
            else:
                self._waiting += frame + END
                if len(self._waiting) > _MOST_WAITING:
                    await self._free.wait()

    def _pass_up(self, frame: bytes) -> None:
        message = _read_as_driver(frame)
        if (reason := self._policy.refusal(message["method"], message.get("params") or {})) is not None:
            self._answer(message, _error(reason))
        elif message["method"] == "addStackToTracingNoReply":
            self._policy.stack(message["params"]["callData"])
            self._answer(message, {"result": {}})
        elif message["method"] == "close" and str(message["guid"]).startswith("browser-context@"):
            self._begin(self._closed(message, frame))
        elif self._to_driver is not None:
            self._to_driver.write(self._for_driver(message, frame) + END)

    def _for_driver(self, message: dict[str, Any], frame: bytes) -> bytes:
        """Return what is sent to the driver for a message; mostly the message as it came."""
        match message["method"]:
            case "newContext":
                return self._as_opening(message)
            case "newBrowserCDPSession":
                self._policy.commands_browser = True
            case _:
                pass
        return frame

    def _as_opening(self, message: dict[str, Any]) -> bytes:
        """Return a call that opens a context such that the driver carries it out, and user code cannot abort it."""
        number = secrets.token_hex(16)
        self._opening[number] = message["id"]
        params = self._policy.options_of_context(message["params"])
        metadata = {**message.get("metadata", {}), "timeout": 0}
        return json.dumps({**message, "id": number, "params": params, "metadata": metadata}).encode()

    async def _closed(self, message: dict[str, Any], frame: bytes) -> None:
        """Have a context closed once what must be saved of it is saved. Other calls are not held up meanwhile."""
        await self._policy.context_closing(message["guid"])
        if self._to_driver is not None:
            self._to_driver.write(frame + END)

    def _answer(self, message: dict[str, Any], answer: dict[str, Any]) -> None:
        if self._to_user is not None and "id" in message:
            self._ours += json.dumps({"id": message["id"], **answer}).encode() + END
            self._send_ours(self._to_user)

    def _send_ours(self, user: asyncio.StreamWriter) -> None:
        """Send the answers of ours that wait, unless the driver is in the midst of a message."""
        if self._ours and not self._inside:
            self._send(user, bytes(self._ours))
            self._ours.clear()

    async def _down(self, reader: asyncio.StreamReader, user: asyncio.StreamWriter) -> None:
        rest = b""
        """The beginning of a message that is not whole yet. It is held back only while messages are looked at."""
        while data := rest + await reader.read(_READ):
            if len(data) == len(rest):
                break
            rest = b""
            if self._opening or not self._free.is_set():
                whole = data.rfind(END) + 1
                for frame in data[:whole].split(END)[:-1]:
                    if self._inside:
                        self._send(user, frame + END)
                    elif self._free.is_set() or not _tells_of_dialog(frame):
                        self._send(user, await self._answered(frame) + END)
                    self._inside = False
                if self._inside:
                    self._send(user, data[whole:])
                else:
                    rest = data[whole:]
            else:
                self._send(user, data)
                self._inside = not data.endswith(END)
            self._send_ours(user)
            if not self._is_closed:
                with contextlib.suppress(ConnectionError):  # whether the relay goes on is seen where it reads from it
                    await user.drain()
            elif not self._opening:
                break

    def _send(self, user: asyncio.StreamWriter, data: bytes) -> None:
        if not self._is_closed:
            user.write(data)

    async def _answered(self, frame: bytes) -> bytes:
        """Return a message of the driver as user code gets it. Before it gets a context, that is prepared."""
        if b'"context":' not in frame and b'"error":' not in frame:
            return frame
        message: dict[str, Any] = json.loads(frame)
        number = message.get("id")
        if not isinstance(number, str) or number not in self._opening:
            return frame
        answer = {**message, "id": self._opening.pop(number)}
        if "result" in message and not self._is_closed:
            prepared = self._begin(self._policy.context_opened(message["result"]["context"]["guid"]))
            await asyncio.wait({prepared})
        return json.dumps(answer).encode()


def _read_as_driver(frame: bytes) -> dict[str, Any]:
    """Read anything of user code's as the driver will: as UTF-8, with the last of equal names."""
    return json.loads(frame.decode(errors="replace"))


def _tells_of_dialog(frame: bytes) -> bool:
    return b'"dialog"' in frame and json.loads(frame).get("method") == "dialog"


def _error(message: str) -> dict[str, Any]:
    return {"error": {"error": {"name": "Error", "message": message}}}
