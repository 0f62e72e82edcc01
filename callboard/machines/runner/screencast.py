"""Send live pictures of an Attempt's page to its worker, over a socket in the Attempt's folder, and take inputs.

Each picture is four bytes of length, big-endian, then a JPEG. What else is said, by either side, are JSON objects, each
behind such a length. As long as nobody watches, the worker is not connected, and this costs only a listening socket.
The browser makes the next picture once the worker says that the last was taken, so those who watch set the pace.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from callboard_runtime.cdp import send
from playwright.async_api import CDPSession, Page
from playwright.async_api import Error as PlaywrightError

from .asked import Asked
from .hands import ERRORS, Hands

SOCKET = "live.sock"
_LARGEST = 2_000_000
"""Most bytes of a picture, or of what is said; a larger one is left out."""
_LONGEST = 16 * 1024 * 1024
"""Most bytes of what the worker says at once: it may have files."""
_SIZE: dict[str, Any] = {"format": "jpeg", "quality": 60, "maxWidth": 1920, "maxHeight": 1080}
"""Pictures have the size of the viewport, up to this one."""
_LEAVE_NO_TEXT = frozenset({"mouseMoved", "mouseWheel", "mouseReleased", "keyUp"})
"""Types of events after which a page shows nothing that a person has typed."""
_LOOK_EVERY = 0.5
"""Seconds between two checks whether the automation is at another page."""
_FIRST_WITHIN = 2.0
"""Seconds to wait for the first picture. A page that is busy for ever gives none."""
_END_WITHIN = 0.2
"""Seconds that ending may take. A stopped Attempt has no more than one and a half, for everything."""


class Screencast:
    """Live pictures of one Attempt. Call `begin` before user code, and `end` after it."""

    def __init__(
        self, folder: Path | None, page: Callable[[], Page | None], use: Callable[[Page], Awaitable[None]]
    ) -> None:
        """Prepare, without listening yet.

        Args:
            folder: The folder for the socket; without one, nobody can watch.
            page: Returns the page that the automation is at.
            use: Is called with a page before, and after, something is done to it that may leave text there.
        """
        self._folder = folder
        self._page = page
        self._use = use
        self._server: asyncio.Server | None = None
        self._worker: asyncio.StreamWriter | None = None
        """The connection of the worker, as long as somebody watches."""
        self._casting: asyncio.Task[None] | None = None
        self._hands: Hands | None = None
        """The hands on the page that is shown."""
        self._is_held = False
        """Whether somebody has the browser, without which nothing is done to its page."""
        self._shown: Page | None = None
        self._acting: set[asyncio.Task[None]] = set()
        self._untaken: list[tuple[CDPSession, int]] = []
        """Frames of which the browser waits to hear that they were taken: it sends two at most before."""

    async def begin(self) -> None:
        """Listen for the worker."""
        if self._folder is not None:
            with contextlib.suppress(OSError):  # if nobody can watch, that is no failure of the automation
                self._server = await asyncio.start_server(self._show, sock=_listener(self._folder))

    async def end(self) -> None:
        """Stop listening, and disconnect the worker, in bounded time."""
        server, self._server = self._server, None
        if server is not None and self._folder is not None:
            server.close()
            with contextlib.suppress(OSError):
                (self._folder / SOCKET).unlink()
        await self._leave()

    async def _show(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the worker until it leaves, or connects again."""
        await self._leave()
        if self._server is None:
            writer.close()
            return
        self._worker = writer
        self._casting = asyncio.create_task(self._cast(), name="live")
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while (length := int.from_bytes(await reader.readexactly(4))) <= _LONGEST:
                    await self._obey(json.loads(await reader.readexactly(length)))
        finally:
            writer.close()
            if self._worker is writer:
                await self._leave()

    async def _leave(self) -> None:
        worker, self._worker = self._worker, None
        casting, self._casting, self._untaken = self._casting, None, []
        if worker is not None:
            worker.close()
        if casting is not None:
            for task in (casting, *self._acting):
                task.cancel()
            await asyncio.wait({casting}, timeout=_END_WITHIN)

    async def _obey(self, message: dict[str, Any]) -> None:
        if message["kind"] == "input":
            task = asyncio.create_task(self._act(message["id"], message["events"]), name="input")
            self._acting.add(task)  # pictures go on meanwhile
            task.add_done_callback(self._acting.discard)
        elif message["kind"] == "taken":
            untaken, self._untaken = self._untaken, []
            for session, number in untaken:
                with contextlib.suppress(PlaywrightError):  # the page is gone meanwhile
                    await send(session, "Page.screencastFrameAck", sessionId=number)

    def take(self) -> None:
        """Do from now on what the worker says to the page, and tell what that asks."""
        self._is_held = True
        if self._hands is not None:
            self._hands.take()

    async def release(self) -> None:
        """Release all pressed keys and buttons, in bounded time. An input that is under way is awaited, or given up."""
        self._is_held = False  # so that nothing is begun any more
        if self._acting:
            _, undone = await asyncio.wait(self._acting, timeout=_END_WITHIN)
            for task in undone:
                task.cancel()
        if self._hands is not None:
            with contextlib.suppress(*ERRORS):
                await self._hands.release()

    async def _act(self, number: int, events: list[dict[str, Any]]) -> None:
        """Do this to the page that is shown, and say whether it has taken all of it."""
        hands, page, taken = self._hands, self._shown, False
        uses = any(event.get("type") not in _LEAVE_NO_TEXT for event in events)
        try:
            if self._is_held and hands is not None and page is not None:
                with contextlib.suppress(*ERRORS):
                    if uses:
                        await self._use(page)
                    await hands.act(events)
                    taken = True
        finally:  # also when it is given up
            self._say({"kind": "acted", "id": number, "taken": taken})
        if page is not None and uses:  # it may show its next document meanwhile, which has got the rest then
            await self._use(page)

    async def _cast(self) -> None:
        """Send pictures of the page that the automation is at, and of each one that it goes to later."""
        while True:
            page = self._page()
            if page is not None:
                with contextlib.suppress(PlaywrightError):  # the page was closed just now, or the browser cannot do it
                    await self._cast_page(page)
            await asyncio.sleep(_LOOK_EVERY)

    async def _cast_page(self, page: Page) -> None:
        session = await page.context.new_cdp_session(page)

        def came(frame: dict[str, Any]) -> None:
            self._untaken.append((session, frame["sessionId"]))
            self._send(base64.b64decode(frame["data"]))

        try:
            session.on("Page.screencastFrame", came)
            self._shown = page
            self._hands = Hands(session, Asked(page, lambda asks: self._say({"kind": "asks", "asks": asks})))
            if self._is_held:
                self._hands.take()
            await self._first(session)
            await send(session, "Page.startScreencast", **_SIZE)
            while not page.is_closed() and self._page() is page:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            hands, self._hands = self._hands, None
            with contextlib.suppress(*ERRORS):
                async with asyncio.timeout(_END_WITHIN):
                    if hands is not None:
                        await hands.release()
                    await session.detach()

    async def _first(self, session: CDPSession) -> None:
        """Send a first picture: a page that does not change, or has nothing to show yet, would give none by itself."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_FIRST_WITHIN):
                shot = await send(session, "Page.captureScreenshot", format="jpeg", quality=_SIZE["quality"])
                self._send(base64.b64decode(shot["data"]))

    def _say(self, message: dict[str, Any]) -> None:
        # A page may have half a character, which is no text.
        self._send(json.dumps(message, ensure_ascii=False).encode(errors="replace"))

    def _send(self, message: bytes) -> None:
        if len(message) <= _LARGEST and self._worker is not None and not self._worker.is_closing():
            self._worker.write(struct.pack(">I", len(message)) + message)


def _listener(folder: Path) -> socket.socket:
    """Return a listening socket in the folder, whose path may be too long for a socket address. Raises OSError."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made = f"{SOCKET}.part"
            listener.bind(f"/proc/self/fd/{descriptor}/{made}")
            (folder / made).chmod(0o600)
            listener.listen()
            (folder / made).rename(folder / SOCKET)  # renamed last, so that whoever finds the socket can connect
        except OSError:
            listener.close()
            raise
        return listener
    finally:
        os.close(descriptor)
