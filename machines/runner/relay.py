"""The way of user code to the browser: what it asks of the driver is looked at, and what it may not ask is refused.

The driver acts for whoever speaks to it: it writes files, ends traces and serves further clients. So user code does not
reach its socket. What the driver sends is passed on as it is, except for the answers that somebody waits for here.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncGenerator, Awaitable, Coroutine
from typing import Any

from .browser_desk import BrowserDesk
from .playwright_wire import END, OPENING_COMMANDS

_READ = 256 * 1024
_LARGEST = 512 * 1024 * 1024
"""Most bytes of a message, which may carry the files of an upload."""

_TRACING = "Callboard traces the Attempt itself, and saves its trace where its other evidence is. Remove this call."
_BROWSER_TRACING = (
    "An automation cannot trace the whole browser, which would go on in later Attempts. Callboard traces the Attempt"
    " itself. For a performance trace, send `Tracing.start` in a CDP session of the page."
)
_SERVING = "An automation cannot offer its browser to others. Use `connect_over_cdp` in the project's hook instead."
_ZIPPING = "An automation cannot have Playwright's driver pack or unpack files. Record a HAR to a name without `.zip`."
REFUSED = {
    **dict.fromkeys(("tracingStart", "tracingStartChunk", "tracingStopChunk", "tracingStop"), _TRACING),
    **dict.fromkeys(("tracingStarted", "traceDiscarded"), _TRACING),
    **dict.fromkeys(("startTracing", "stopTracing"), _BROWSER_TRACING),
    **dict.fromkeys(("startServer", "stopServer", "connect"), _SERVING),
    **dict.fromkeys(("newContextForReuse", "disconnectFromReusedContext", "killForTests"), _SERVING),
    **dict.fromkeys(("zip", "harUnzip"), _ZIPPING),
}
"""Methods of Playwright's protocol that are refused, whatever object they are called on, and why."""
_OF_PAGES = frozenset(
    {
        *(
            "Accessibility",
            "Animation",
            "Audits",
            "CacheStorage",
            "Console",
            "CSS",
            "Debugger",
            "DeviceOrientation",
            "DOM",
        ),
        *("DOMDebugger", "DOMSnapshot", "DOMStorage", "Emulation", "EventBreakpoints", "Fetch", "HeapProfiler"),
        *("IndexedDB", "Input", "Inspector", "IO", "LayerTree", "Log", "Media", "Network", "Overlay", "Page"),
        *("Performance", "PerformanceTimeline", "Profiler", "Runtime", "ServiceWorker", "WebAudio", "WebAuthn"),
    }
)
"""Domains of the browser's own protocol that end with the page and its context. A command of any other may leave
something in the browser itself, such as a page, a cookie or a permission of its own context, also if the session is one
of a page."""


class Relay:
    """The relay of one user process. It ends with either side, and closes both."""

    def __init__(self, desk: BrowserDesk) -> None:
        self._desk = desk
        self._to_driver: asyncio.StreamWriter | None = None
        self._to_user: asyncio.StreamWriter | None = None
        self._opening: set[str] = set()
        """Ids of the calls by which user code opens contexts, and which are not answered yet."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._inside = False
        """Whether the last message of the driver has been passed on in part."""
        self._held = bytearray()
        """Answers of ours that wait for the rest of that message."""

    async def start(self, driver: str, user: socket.socket) -> None:
        """Connect to the driver's socket at the path `driver`, and serve the user process at the other end of `user`.

        Raises:
            OSError: The driver does not listen any more.
        """
        from_driver, self._to_driver = await asyncio.open_unix_connection(driver)
        from_user, self._to_user = await asyncio.open_unix_connection(sock=user)
        self._begin(self._until_closed(self._up(from_user, self._to_driver)))
        self._begin(self._until_closed(self._down(from_driver, self._to_user)))

    def close(self) -> None:
        """Close both sides. What is under way for user code is given up."""
        for task in self._tasks:
            task.cancel()
        self._close()

    def _close(self) -> None:
        for writer in (self._to_driver, self._to_user):
            if writer is not None:
                writer.close()

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work, name="relay")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _until_closed(self, passing: Awaitable[None]) -> None:
        """Pass on what comes from one side until it ends, or sends what is no message of Playwright's."""
        try:
            with contextlib.suppress(ConnectionError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
                await passing
        finally:
            self._close()

    async def _up(self, reader: asyncio.StreamReader, driver: asyncio.StreamWriter) -> None:
        async for frame in _frames(reader):
            # User code may write anything here. Read it as the driver will: as UTF-8, with the last of equal names.
            message: dict[str, Any] = json.loads(frame.decode(errors="replace"))
            if (reason := self._reason(message)) is not None:
                self._answer(message, _error(reason))
            elif message["method"] == "addStackToTracingNoReply":
                self._desk.stack(message["params"]["callData"])
                self._answer(message, {"result": {}})
            elif message["method"] == "close" and str(message["guid"]).startswith("browser-context@"):
                self._begin(self._closed(message, frame))
            else:
                driver.write(self._told(message, frame) + END)
                await driver.drain()

    def _reason(self, message: dict[str, Any]) -> str | None:
        """Say why a call is refused; None if it is not."""
        method: str = message["method"]
        params: dict[str, Any] = message.get("params") or {}
        url: Any = None
        if method in REFUSED:
            return REFUSED[method]
        match method:
            case "goto":
                url = params.get("url")
            case "send":
                command = str(params.get("method"))
                given: dict[str, Any] = params.get("params") or {}
                url = given.get("url") if command in OPENING_COMMANDS else None
            case "newContext":
                url = params.get("baseURL")
            case _:
                pass
        if isinstance(url, str) and (refused := self._desk.refusal(url)) is not None:
            return refused
        return self._desk.refusal_of_files(method, params)

    def _told(self, message: dict[str, Any], frame: bytes) -> bytes:
        """Return what the driver is told instead of a message; mostly the message as it came."""
        match message["method"]:
            case "newContext":
                params = self._desk.options_of_context(message["params"])
                self._opening.add(message["id"])
                return json.dumps({**message, "params": params}).encode()
            case "newBrowserCDPSession":
                self._desk.shares_browser()
            case "send" if _commands_browser(str(message["params"]["method"])):
                self._desk.shares_browser()
            case _:
                pass
        return frame

    async def _closed(self, message: dict[str, Any], frame: bytes) -> None:
        """Have a context closed once what must be saved of it is saved. Other calls are not held up meanwhile."""
        await self._desk.context_closing(message["guid"])
        if self._to_driver is not None:
            self._to_driver.write(frame + END)

    def _answer(self, message: dict[str, Any], told: dict[str, Any]) -> None:
        if self._to_user is not None and "id" in message:
            self._held += json.dumps({"id": message["id"], **told}).encode() + END
            self._hand_out(self._to_user)

    def _hand_out(self, user: asyncio.StreamWriter) -> None:
        """Send the answers of ours that wait, unless the driver is in the midst of a message."""
        if self._held and not self._inside:
            user.write(bytes(self._held))
            self._held.clear()

    async def _down(self, reader: asyncio.StreamReader, user: asyncio.StreamWriter) -> None:
        rest = b""
        """The beginning of a message that is not whole yet. It is held back only while an answer is waited for."""
        while data := rest + await reader.read(_READ):
            if len(data) == len(rest):
                break
            rest = b""
            if self._opening:
                whole = data.rfind(END) + 1
                for frame in data[:whole].split(END)[:-1]:
                    if not self._inside:
                        await self._look(frame)
                    self._inside = False
                    user.write(frame + END)
                if self._inside:
                    user.write(data[whole:])
                else:
                    rest = data[whole:]
            else:
                user.write(data)
                self._inside = not data.endswith(END)
            self._hand_out(user)
            await user.drain()

    async def _look(self, frame: bytes) -> None:
        """Prepare the context, if this answers a call that opens one."""
        if b'"context":' not in frame and b'"error":' not in frame:
            return
        message: dict[str, Any] = json.loads(frame)
        number = message.get("id")
        if number not in self._opening:
            return
        self._opening.discard(number)
        if (result := message.get("result")) is not None:
            await self._desk.context_opened(result["context"]["guid"])


def _commands_browser(command: str) -> bool:
    """Tell whether a command of a session, also of one of a page, may leave something in the browser itself."""
    if command == "Page.setDownloadBehavior":  # it names any folder of the browser's box
        return True
    # Our own code in the process of user code asks for this to recognize a context. It changes nothing.
    return command != "Target.getTargetInfo" and command.partition(".")[0] not in _OF_PAGES


def _error(message: str) -> dict[str, Any]:
    return {"error": {"error": {"name": "Error", "message": message}}}


async def _frames(reader: asyncio.StreamReader) -> AsyncGenerator[bytes]:
    """Yield each whole message, without its end. Raises ValueError if one is too large."""
    pending = bytearray()
    while data := await reader.read(_READ):
        searched = len(pending)
        pending += data
        start = 0
        while (end := pending.find(END, max(start, searched))) >= 0:
            yield bytes(pending[start:end])
            start = end + 1
        del pending[:start]
        if len(pending) > _LARGEST:
            raise ValueError("a message is too large")
