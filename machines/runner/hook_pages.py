"""Find and capture the pages that the project's hook has opened by a client of its own, by the browser's protocol.

That client lives in the process of user code, and Playwright's objects for these pages with it. The supervisor needs
the pages where that process cannot save anything any more: it blocks, or it has ended.

The hook reaches the browser by a port of the supervisor, which passes bytes on. A browser disposes of the contexts that
a client has opened as soon as the client's connection ends. So if the process of user code has ended by itself, the
browser's end of the connection is kept until what is left there is saved.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from callboard_runtime.cdp import send
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .browser import WarmBrowser
from .evidence import save_picture

_BLANK = "about:blank"
_READ = 64 * 1024


class HookPages:
    """The pages of the browser in the present Attempt, and the port at which a hook opens its own.

    `watch` makes one.
    """

    def __init__(self, session: CDPSession, port: DebuggingPort, default_context: str) -> None:
        self._session = session
        self.port = port
        """The port that the hook reaches the browser by."""
        self._default_context = default_context
        """Id of the context that the browser keeps for as long as it runs."""
        self._default_used = False
        self._urls: dict[str, str] = {}
        """Addresses of the pages by their id, the one that was changed last at the end."""
        self._last = ""
        """The last address of a page that is not blank, also if the page is closed."""

    @classmethod
    async def watch(cls, browser: WarmBrowser, cdp_url: str) -> HookPages:
        """Follow the pages of the browser, and open a port that leads to it at `cdp_url`.

        Raises:
            PlaywrightError: The browser is gone.
            OSError: There is no free port.
        """
        session = await browser.new_session()
        default = (await send(session, "Target.getBrowserContexts"))["defaultBrowserContextId"]
        pages = cls(session, await DebuggingPort.start(cdp_url), default)
        session.on("Target.targetCreated", pages._changed)
        session.on("Target.targetInfoChanged", pages._changed)
        session.on("Target.targetDestroyed", pages._closed)
        await send(session, "Target.setDiscoverTargets", discover=True)
        return pages

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Begin another Attempt. `is_over` says whether its process of user code has ended."""
        self._urls.clear()
        self._last = ""
        self.port.begin(is_over)

    async def used_default_context(self) -> bool:
        """Tell whether something was opened, or cookies were set, where the next Attempt could find it.

        Raises:
            PlaywrightError: The browser is gone.
        """
        return self._default_used or bool((await send(self._session, "Storage.getCookies"))["cookies"])

    async def leave(self, folder: Path, within: float) -> dict[str, Any]:
        """Save a picture of the page that user code was last at, and return the fields of a `left` message.

        Args:
            folder: Where the picture is saved.
            within: Seconds that the browser has to take it.
        """
        page = next((page for page, url in reversed(self._urls.items()) if url != _BLANK), next(iter(self._urls), None))
        url = self._last if page is None else self._urls[page]
        why = "Its page was closed." if page is None else await save_picture(self._picture(page), folder, within)
        return {"pageUrl": url or None, "missing": {} if why is None else {"screenshot": why}}

    async def _picture(self, page: str) -> bytes:
        """Capture a page. Playwright gives sessions to pages of its own only, so messages are passed by hand."""
        session = (await send(self._session, "Target.attachToTarget", targetId=page, flatten=False))["sessionId"]
        answer: asyncio.Future[dict[str, Any]] = asyncio.get_running_loop().create_future()

        def received(event: dict[str, Any]) -> None:
            if event["sessionId"] == session and not answer.done():
                answer.set_result(json.loads(event["message"]))

        self._session.on("Target.receivedMessageFromTarget", received)
        try:
            message = json.dumps({"id": 1, "method": "Page.captureScreenshot", "params": {"format": "png"}})
            await send(self._session, "Target.sendMessageToTarget", sessionId=session, message=message)
            return base64.b64decode((await answer)["result"]["data"])
        finally:
            self._session.remove_listener("Target.receivedMessageFromTarget", received)
            with contextlib.suppress(PlaywrightError):
                await send(self._session, "Target.detachFromTarget", sessionId=session)

    def _changed(self, event: dict[str, Any]) -> None:
        target = event["targetInfo"]
        self._default_used = self._default_used or target.get("browserContextId") == self._default_context
        if target["type"] == "page":
            self._urls.pop(target["targetId"], None)
            self._urls[target["targetId"]] = target["url"]
            if target["url"] != _BLANK:
                self._last = target["url"]

    def _closed(self, event: dict[str, Any]) -> None:
        self._urls.pop(event["targetId"], None)


class DebuggingPort:
    """A port on loopback for clients of the browser. `start` opens it; it is open until `close`."""

    def __init__(self, browser: int) -> None:
        self._browser = browser
        self._server: asyncio.Server | None = None
        self.url = ""
        """The WebSocket address for clients."""
        self._connections: set[asyncio.Task[None]] = set()
        self._released = asyncio.Event()
        self._is_over: Callable[[], bool] = lambda: False

    @classmethod
    async def start(cls, browser: str) -> DebuggingPort:
        """Open a port that leads to the browser at this WebSocket address. Raises OSError."""
        address = urlsplit(browser)
        if address.port is None:
            raise ValueError(f"{browser} names no port")
        opened = cls(address.port)
        opened._server = await asyncio.start_server(opened._connected, "127.0.0.1", 0)
        opened.url = f"ws://127.0.0.1:{opened._server.sockets[0].getsockname()[1]}{address.path}"
        return opened

    def begin(self, is_over: Callable[[], bool]) -> None:
        """Begin an Attempt. `is_over` says whether its process of user code has ended."""
        self._is_over = is_over
        self._released.clear()

    def release(self) -> None:
        """End the connections that were kept, as everything is saved."""
        self._released.set()

    async def close(self) -> None:
        """Close the port and all connections."""
        if self._server is not None:
            self._server.close()
        for connection in self._connections:
            connection.cancel()
        if self._connections:
            await asyncio.wait(set(self._connections))

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve(reader, writer), name="debugging port")
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            from_browser, to_browser = await asyncio.open_connection("127.0.0.1", self._browser)
        except OSError:  # the browser is gone, and so is the client's connection
            writer.close()
            return
        down = asyncio.create_task(_pass_on(from_browser, writer))
        try:
            up = asyncio.create_task(_pass_on(reader, to_browser))
            await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
            if not down.done() and self._is_over():
                await self._released.wait()
            up.cancel()
        finally:
            down.cancel()
            writer.close()
            to_browser.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Pass on what is read until one of the two ends."""
    with contextlib.suppress(ConnectionError):
        while data := await reader.read(_READ):
            writer.write(data)
            await writer.drain()
