"""Shows the page of an Attempt to whoever watches, as it is now: pictures over a socket in the Attempt's folder.

Each picture is four bytes of length, big-endian, then a JPEG; nothing is read from those who watch. As long as nobody
does, it costs a socket that listens. The browser sends the next picture once the last was acknowledged, which is done
after a while, so that a page that moves all the time costs no more than one that moves ten times a second.
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
from typing import Any, cast

from playwright.async_api import CDPSession, Page
from playwright.async_api import Error as PlaywrightError

SOCKET = "live.sock"
_AT_MOST = 8
"""That watch the same Attempt."""
_LARGEST = 1_000_000
"""Bytes of a picture; one that is larger is left out."""
_SIZE: dict[str, Any] = {"format": "jpeg", "quality": 60, "maxWidth": 960, "maxHeight": 720}
_EVERY = 0.1
"""Seconds from one picture to the next, at least."""
_LOOK_EVERY = 0.5
"""Seconds after which another page is noticed."""
_FIRST_WITHIN = 2.0
"""Seconds. A page that is busy for ever gives none."""
_END_WITHIN = 0.2
"""Seconds. An Attempt that is stopped has no more than one and a half, for all of it."""


class Live:
    """Of one Attempt. `begin` before user code, `end` after it."""

    def __init__(self, folder: Path | None, page: Callable[[], Page | None]) -> None:
        """Nobody can watch yet.

        Args:
            folder: Where the socket will be. Without one, nobody can ever watch.
            page: The one that the automation is at.
        """
        self._folder = folder
        self._page = page
        self._server: asyncio.Server | None = None
        self._watching: set[asyncio.StreamWriter] = set()
        self._casting: asyncio.Task[None] | None = None
        self._next = 0.0
        self._last: bytes | None = None

    async def begin(self) -> None:
        """Listen."""
        if self._folder is not None:
            with contextlib.suppress(OSError):  # that nobody can watch is no failure of the automation
                self._server = await asyncio.start_server(self._show, sock=_listener(self._folder))

    async def end(self) -> None:
        """Listen no more, and let go of those who watch; bounded."""
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
        """Somebody has come; until they leave."""
        if self._server is None or len(self._watching) >= _AT_MOST:
            writer.close()
            return
        self._watching.add(writer)
        if self._last is not None:
            _write(writer, self._last)  # a page that stands still gives no other
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
        """Pictures of the page, and of the one that comes after it."""
        while True:
            page = self._page()
            if page is not None:
                with contextlib.suppress(PlaywrightError):  # it was closed just now; or no browser that can do it
                    await self._cast_page(page)
            await asyncio.sleep(_LOOK_EVERY)

    async def _cast_page(self, page: Page) -> None:
        session = await page.context.new_cdp_session(page)

        def came(frame: dict[str, Any]) -> None:
            self._came(session, frame)

        try:
            session.on("Page.screencastFrame", came)
            await self._first(session)
            await _send(session, "Page.startScreencast", _SIZE)
            while not page.is_closed() and self._page() is page:  # noqa: ASYNC110  # it can only be looked up
                await asyncio.sleep(_LOOK_EVERY)
        finally:
            with contextlib.suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(_END_WITHIN):
                    await session.detach()

    async def _first(self, session: CDPSession) -> None:
        """A page that stands still, or has nothing to show yet, would give none by itself."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_FIRST_WITHIN):
                shot = await _send(session, "Page.captureScreenshot", {"format": "jpeg", "quality": _SIZE["quality"]})
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
            acknowledging = asyncio.ensure_future(_send(session, "Page.screencastFrameAck", {"sessionId": number}))
            acknowledging.add_done_callback(_heard)


def _write(writer: asyncio.StreamWriter, picture: bytes) -> None:
    # Who has not got the last one yet has no use for this one.
    if not writer.is_closing() and not writer.transport.get_write_buffer_size():
        writer.write(struct.pack(">I", len(picture)) + picture)


async def _send(session: CDPSession, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return cast("dict[str, Any]", await session.send(method, parameters))  # pyright: ignore[reportUnknownMemberType]


def _heard(done: asyncio.Future[Any]) -> None:
    """That the page is gone meanwhile is no news."""
    if not done.cancelled():
        done.exception()


def _listener(folder: Path) -> socket.socket:
    """A socket in the folder, which may lie deeper than the name of a socket can tell. Raises OSError."""
    descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            made = f"{SOCKET}.part"
            listener.bind(f"/proc/self/fd/{descriptor}/{made}")
            (folder / made).chmod(0o600)
            listener.listen(_AT_MOST)
            (folder / made).rename(folder / SOCKET)  # whoever finds it can connect
        except OSError:
            listener.close()
            raise
        return listener
    finally:
        os.close(descriptor)
