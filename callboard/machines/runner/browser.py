"""The Machine's one warm browser, and a fresh context and page for each Attempt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from callboard_runtime.addresses import guard_browser
from callboard_runtime.cdp import debugging_address, send, user_agent
from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, ProxySettings, Response
from playwright.async_api import Error as PlaywrightError

from .folders import DOWNLOADS, TEMPORARY_IN_BOX, TRACES
from .playwright_wire import add_stack, guid_of, hear_all
from .process_tree import BrowserProcesses

PLACES_OF_DRIVER = {"PWTEST_SOCKETS_DIR": "driver", "PWTEST_SERVER_REGISTRY": "driver"}
"""Variables that tell Playwright's driver where to make its socket, and where to note that it listens.

The folder is named relative to the scratch folder, where the driver runs: its full path may be too long for a socket.
"""
DRIVER_SOCKET = "driver.sock"
"""Where the driver listens for further clients of its browser: in the scratch folder itself, which is in no box."""
NODE_OF_DRIVER = "PLAYWRIGHT_NODEJS_PATH"
"""Variable that tells Playwright what to start as its driver's Node.js."""
CLOSE_WITHIN = 5.0
"""Seconds that closing a context or the browser may take; whatever takes longer is killed with the Machine."""
OPEN_WITHIN = 5.0
"""Seconds that opening a context with its page may take; a Machine in which that fails is not used again."""
_PROXY_AUTHENTICATION_REQUIRED = 407
_ANSWER_WITHIN = 2.0
"""Seconds that the browser gets to answer. One that is alive answers at once, however busy its pages are."""
_LATELY = 5.0
"""Skip the liveness ping if the browser answered within this many seconds."""

_EMPTY_CLIPBOARD = """() => {
    const copy = (event) => { event.clipboardData.setData('text/plain', ''); event.preventDefault(); };
    document.addEventListener('copy', copy, { once: true });
    return document.execCommand('copy');
}"""


@dataclass
class Tab:
    """A fresh context with one page."""

    context: BrowserContext
    page: Page
    proxy_refused: bool = False
    """Whether its proxy has asked for credentials that the Attempt lacks, or did not accept those that it has."""

    def watch_proxy(self) -> None:
        """Watch for refusals by the proxy. Playwright lets the page hang then, and gives no reason."""
        self.context.on("response", self._look)

    def _look(self, response: Response) -> None:
        # Playwright answers the first challenge before this is called.
        self.proxy_refused = self.proxy_refused or response.status == _PROXY_AUTHENTICATION_REQUIRED


async def close_context(context: BrowserContext) -> bool:
    """Close the context in bounded time; return False if it does not close in time."""
    return await _done_in_time(context.close())


async def _done_in_time(closing: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await closing
    except TimeoutError:
        return False
    except PlaywrightError:
        return True  # the browser and its contexts are gone
    return True


class WarmBrowser:
    """The Machine's browser, which is launched once."""

    def __init__(
        self,
        browser: Browser,
        session: CDPSession,
        processes: BrowserProcesses,
        user_agent: str,
        viewport: tuple[int, int],
        cdp_url: str | None,
        watch: Callable[[BrowserContext], None],
    ) -> None:
        self.cdp_url = cdp_url
        """WebSocket address of the browser for other clients, if its debugging port is open."""
        self._browser = browser
        self._user_agent = user_agent
        self._viewport = viewport
        self._session = session
        self._processes = processes
        self._answered = time.monotonic()
        self._watch = watch
        self._default_used = False
        """Whether another client has opened something in the context that the browser keeps while it runs."""
        self.version = browser.version
        """The version that the browser reports."""
        self.driver = processes.driver
        """Process id of Playwright's driver; 0 if it is not known."""

    @classmethod
    async def launch(
        cls,
        playwright: Playwright,
        setup: dict[str, Any],
        *,
        debugging: bool,
        watch: Callable[[BrowserContext], None],
        on_refused_file: Callable[[str], None],
    ) -> WarmBrowser:
        """Launch the browser. Raises playwright's Error.

        Args:
            playwright: Starts the browser.
            setup: What the worker has said of the Machine.
            debugging: Whether other clients may connect to the browser, on loopback.
            watch: Is called with every context that is opened.
            on_refused_file: Is called with the URL of each file that is refused to other clients of the browser.
        """
        scratch, boxed = Path(setup["scratch"]), setup["zygote"]["innerBox"] is not None
        # Whoever reaches the debugging port controls the browser, so it is opened only if it is needed.
        port = ["--remote-debugging-port=0"] if debugging else []
        places = {"TMPDIR": TEMPORARY_IN_BOX} if boxed else {}
        browser = await playwright.chromium.launch(
            executable_path=setup["browser"],
            args=[*setup["arguments"], *port],
            headless=setup["headless"],
            chromium_sandbox=setup["sandbox"],
            traces_dir=scratch / TRACES,  # unsaved ones grow there
            downloads_path=scratch / DOWNLOADS,
            env={**_environment(), **places, **setup["browserEnvironment"]},
            handle_sigint=False,  # the keeper ends everything; the browser must not end by itself
            handle_sigterm=False,
            handle_sighup=False,
        )
        session = await browser.new_browser_cdp_session()
        if debugging and not setup["allowFileUrls"]:
            await guard_browser(session, on_refused_file)
        processes = (await send(session, "SystemInfo.getProcessInfo"))["processInfo"]
        pid = next(process["id"] for process in processes if process["type"] == "browser")
        processes = BrowserProcesses(pid, boxed=boxed)
        temporary = Path(tempfile.gettempdir())
        cdp_url = await asyncio.to_thread(debugging_address, temporary) if debugging else None
        viewport = setup["width"], setup["height"]
        # Others in the driver's box must not be able to connect, or to listen in its place.
        endpoint = (await browser.bind("callboard"))["endpoint"]
        await asyncio.to_thread(os.rename, endpoint, DRIVER_SOCKET)
        launched = cls(browser, session, processes, await user_agent(session), viewport, cdp_url, watch)
        if debugging:
            await launched._watch_default_context()
        return launched

    async def _watch_default_context(self) -> None:
        default = (await send(self._session, "Target.getBrowserContexts"))["defaultBrowserContextId"]

        def opened(event: dict[str, Any]) -> None:
            self._default_used = self._default_used or event["targetInfo"].get("browserContextId") == default

        self._session.on("Target.targetCreated", opened)
        await send(self._session, "Target.setDiscoverTargets", discover=True)

    async def used_default_context(self) -> bool:
        """Tell whether other clients have left something where they find it in the next Attempt: pages, or cookies.

        Raises:
            PlaywrightError: The browser is gone.
        """
        if self.cdp_url is None:
            return False
        return self._default_used or bool((await send(self._session, "Storage.getCookies"))["cookies"])

    async def call(self) -> None:
        """Ask the browser for a sign of life, which takes about a millisecond, through the driver and back.

        Playwright tells when its browser ends, but not when the driver does.

        Raises:
            PlaywrightError: The browser or the driver is gone.
            TimeoutError: The browser did not answer in time.
        """
        async with asyncio.timeout(_ANSWER_WITHIN):
            await send(self._session, "Browser.getVersion")
        self._answered = time.monotonic()

    async def check(self) -> None:
        """Check that the browser is alive, at next to no cost if it has answered a moment ago and its processes run.

        Raises:
            PlaywrightError: The browser or the driver is gone.
            TimeoutError: The browser did not answer in time.
        """
        lately = time.monotonic() - self._answered < _LATELY
        if not (lately and self._browser.is_connected() and self._processes.all_run):
            await self.call()

    async def open_tab(self, proxy: ProxySettings | None = None) -> Tab:
        """Open a fresh context with one page. Raises playwright's Error, and TimeoutError: the browser is stuck."""
        width, height = self._viewport
        async with asyncio.timeout(OPEN_WITHIN):
            context = await self._browser.new_context(
                viewport={"width": width, "height": height}, user_agent=self._user_agent, proxy=proxy
            )
            self._watch(context)
            tab = Tab(context, await context.new_page())
            # The clipboard is the browser's own, and has what was copied in the Attempt before.
            if not await tab.page.evaluate(_EMPTY_CLIPBOARD):
                raise PlaywrightError("the browser's clipboard could not be emptied")
        self._answered = time.monotonic()
        if proxy is not None:
            tab.watch_proxy()
        return tab

    async def close_contexts(self) -> bool:
        """Close all contexts that there are; return False if one does not close in time."""
        return (
            await _done_in_time(hear_all(self._browser))  # of the contexts that user code has opened
            and all(await asyncio.gather(*(close_context(context) for context in self._browser.contexts)))
            and await _done_in_time(self._dispose_foreign_contexts())
        )

    async def _dispose_foreign_contexts(self) -> None:
        """Dispose of contexts that our Playwright does not know: of a client of the debugging port, or half-made."""
        for context in (await send(self._session, "Target.getBrowserContexts"))["browserContextIds"]:
            with contextlib.suppress(PlaywrightError):  # the context goes by itself when its client does
                await send(self._session, "Target.disposeBrowserContext", browserContextId=context)

    @property
    def contexts(self) -> list[BrowserContext]:
        """All contexts that are known here: ours, and those that other clients of the driver have opened."""
        return self._browser.contexts

    async def context(self, guid: str) -> BrowserContext | None:
        """Return the context with this id, which another client has opened; None if it is closed.

        Raises:
            PlaywrightError: The browser or the driver is gone.
            TimeoutError: The browser did not answer in time.
        """
        for known in (False, True):
            for context in self._browser.contexts:
                if guid_of(context) == guid:
                    return context
            if not known:
                await self.hear_all()
        return None

    async def hear_all(self) -> None:
        """Wait until all that the driver has said so far is here, such as what pages have printed.

        Raises:
            PlaywrightError: The driver is gone.
            TimeoutError: The driver did not answer in time.
        """
        async with asyncio.timeout(_ANSWER_WITHIN):
            await hear_all(self._browser)

    def add_stack(self, call: dict[str, Any]) -> None:
        """Add the stack of a call that another client has made to the traces."""
        add_stack(self._browser, call)

    async def close(self) -> None:
        """Close the browser in bounded time; the keeper kills it if it does not end."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._browser.close()


async def nothing() -> None:
    """Do nothing."""


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in {*PLACES_OF_DRIVER, NODE_OF_DRIVER}}
