"""Send live pictures of an Attempt's page to those who watch, over a socket in the Attempt's folder.

Each picture is four bytes of length, big-endian, then a JPEG; nothing is read from those who watch. As long as nobody
watches, this costs only a listening socket. The browser sends the next picture once the last was acknowledged. We
acknowledge with a delay: so the cost is that of ten pictures a second at most.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import os
import socket
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

from callboard_runtime.cdp import send
from playwright.async_api import CDPSession, Page
from playwright.async_api import Error as PlaywrightError

SOCKET = "live.sock"
_AT_MOST = 8
"""Most clients that can watch the same Attempt."""
_LARGEST = 1_000_000
"""Most bytes of a picture; a larger one is left out."""
_SIZE: dict[str, Any] = {"format": "jpeg", "quality": 60, "maxWidth": 960, "maxHeight": 720}
_EVERY = 0.1
"""Least seconds from one picture to the next."""
_LOOK_EVERY = 0.5
"""Seconds between two checks whether the automation is at another page."""
_FIRST_WITHIN = 2.0
"""Seconds to wait for the first picture. A page that is busy for ever gives none."""
_END_WITHIN = 0.2
"""Seconds that ending may take. A stopped Attempt has no more than one and a half, for everything."""


class Screencast:
    """Live pictures of one Attempt. Call `begin` before user code, and `end` after it."""

    def __init__(self, folder: Path | None, page: Callable[[], Page | None]) -> None:
        """Prepare, without listening yet. Without a folder for the socket, nobody can watch."""
        self._folder = folder
        self._page = page
        self._server: asyncio.Server | None = None
        self._watching: set[asyncio.StreamWriter] = set()
        self._casting: asyncio.Task[None] | None = None
        self._next = 0.0
        self._last: bytes | None = None

    async def begin(self) -> None:
        """Listen for those who want to watch."""
        if self._folder is not None:
            with contextlib.suppress(OSError):  # if nobody can watch, that is no failure of the automation
                self._server = await asyncio.start_server(self._show, sock=_listener(self._folder))

    async def end(self) -> None:
        """Stop listening, and disconnect those who watch, in bounded time."""
        server, self._server = self._server, None
        if server is not None and self._folder is not None:
            server.close()
            with contextlib.suppress(OSError):
                (self._folder / SOCKET).unlink()
        for writer in list(self._watching):
            writer.close()
        self._watching.clear()
        await self._stop()

    async def _show(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one client that watches, until it leaves."""
        if self._server is None or len(self._watching) >= _AT_MOST:
            writer.close()
            return
        self._watching.add(writer)
        if self._last is not None:
            _write(writer, self._last)  # a page that does not change gives no new one
        if self._casting is None:
            self._casting = asyncio.create_task(self._cast(), name="live")
        try:
            with contextlib.suppress(ConnectionError):
                await reader.read(1)
        finally:
            self._watching.discard(writer)
            writer.close()
            if not self._watching:
                await self._stop()

    async def _stop(self) -> None:
        casting, self._casting, self._last = self._casting, None, None
        if casting is not None:
            casting.cancel()
            await asyncio.wait({casting}, timeout=_END_WITHIN)

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
            self._came(session, frame)

        try:
            session.on("Page.screencastFrame", came)
            await self._first(session)
            await send(session, "Page.startScreencast", **_SIZE)
            while not page.is_closed() and self._page() is page:  # noqa: ASYNC110  # there is no event for it
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(_END_WITHIN):
                    await session.detach()

    async def _first(self, session: CDPSession) -> None:
        """Send a first picture: a page that does not change, or has nothing to show yet, would give none by itself."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_FIRST_WITHIN):
                shot = await send(session, "Page.captureScreenshot", format="jpeg", quality=_SIZE["quality"])
                self._send_picture(base64.b64decode(shot["data"]))

    def _came(self, session: CDPSession, frame: dict[str, Any]) -> None:
        loop = asyncio.get_running_loop()
        if loop.time() >= self._next:
            self._next = loop.time() + _EVERY
            self._send_picture(base64.b64decode(frame["data"]))
        loop.call_later(_EVERY, self._acknowledge, session, frame["sessionId"])

    def _send_picture(self, picture: bytes) -> None:
        if len(picture) > _LARGEST:
            return
        self._last = picture
        for writer in self._watching:
            _write(writer, picture)

    def _acknowledge(self, session: CDPSession, number: int) -> None:
        if self._casting is not None:
            # `gather` takes the exception, so that it is not logged if the page is gone meanwhile.
            asyncio.gather(send(session, "Page.screencastFrameAck", sessionId=number), return_exceptions=True)


def _write(writer: asyncio.StreamWriter, picture: bytes) -> None:
    # A client that has not received the last picture yet has no use for this one.
    if not writer.is_closing() and not writer.transport.get_write_buffer_size():
        writer.write(struct.pack(">I", len(picture)) + picture)


def _listener(folder: Path) -> socket.socket:
    """Return a listening socket in the folder, whose path may be too long for a socket address. Raises OSError."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made = f"{SOCKET}.part"
            listener.bind(f"/proc/self/fd/{descriptor}/{made}")
            (folder / made).chmod(0o600)
            listener.listen(_AT_MOST)
            (folder / made).rename(folder / SOCKET)  # renamed last, so that whoever finds the socket can connect
        except OSError:
            listener.close()
            raise
        return listener
    finally:
        os.close(descriptor)
