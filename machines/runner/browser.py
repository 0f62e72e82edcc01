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
from typing import Any, cast

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, ProxySettings, Response
from playwright.async_api import Error as PlaywrightError

from .address_guard import guard_browser
from .vital import Vital

CLOSE_WITHIN = 5.0
"""Seconds, for a context and for the browser; whatever takes longer is killed with the Machine."""
_PROXY_AUTHENTICATION_REQUIRED = 407
_ANSWER_WITHIN = 2.0
"""Seconds. A browser that is alive answers at once, however busy its pages are."""
_LATELY = 5.0
"""Seconds. So long ago, it has answered a moment ago."""


@dataclass
class Tab:
    """A fresh context with one page."""

    context: BrowserContext
    page: Page
    proxy_refused: bool = False
    """Its proxy has asked for credentials that the Attempt has not, or did not take those that it has."""

    def watch_proxy(self) -> None:
        """Find out whether its proxy refuses it: Playwright lets such a page hang, without a word about the reason."""
        self.context.on("response", self._look)

    def _look(self, response: Response) -> None:
        # The first challenge is answered before this is called.
        self.proxy_refused = self.proxy_refused or response.status == _PROXY_AUTHENTICATION_REQUIRED

    async def close(self) -> bool:
        """Close the context; False if it would not close in time."""
        return await close_context(self.context)


async def close_context(context: BrowserContext) -> bool:
    """Close it, bounded; False if it would not close in time."""
    return await _done_in_time(context.close())


async def _done_in_time(closing: Awaitable[None]) -> bool:
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await closing
    except TimeoutError:
        return False
    except PlaywrightError:
        return True  # the browser is gone, and its contexts with it
    return True


@dataclass(frozen=True)
class BrowserSetup:
    """How the browser is launched."""

    executable: str
    arguments: list[str]
    headless: bool
    sandbox: bool
    """Chromium's own."""
    debugging: bool
    """Whether other clients may connect to it, on loopback."""
    viewport: tuple[int, int]
    environment: dict[str, str]
    """What the browser needs beyond the child's own (a display)."""
    traces: Path
    """Folder in which traces grow; whoever has saved one may empty it."""
    on_refused_file: Callable[[str], None] | None
    """Files are refused to other clients of the browser, and this is called with the URL; None: they are allowed."""


class WarmBrowser:
    """One browser process, launched once."""

    def __init__(
        self,
        browser: Browser,
        session: CDPSession,
        vital: Vital,
        user_agent: str,
        viewport: tuple[int, int],
        cdp_url: str | None,
        watch: Callable[[BrowserContext], None],
    ) -> None:
        self.cdp_url = cdp_url
        """WebSocket address of the browser for other clients, if it was opened."""
        self._browser = browser
        self._user_agent = user_agent
        self._viewport = viewport
        self._session = session
        self._vital = vital
        self._answered = time.monotonic()
        self._watch = watch
        self.closed_by_user = False
        """User code has closed the browser itself, as some automations do at their end: that is no crash."""
        self.on_close: Callable[[], Awaitable[None]] = nothing
        """Awaited before user code closes the browser."""
        self.on_context: Callable[[BrowserContext], Awaitable[None]] = _ignored
        """Told of every context that user code opens itself."""
        self._proxy: ProxySettings | None = None
        """Of the Attempt: the way of every context that it opens, also by itself."""
        self._shared = cdp_url is not None
        """Others than our Playwright may have opened contexts: whoever speaks the browser's own protocol can."""
        self._new_context = browser.new_context
        close, new_session = browser.close, browser.new_browser_cdp_session

        async def noted(**reason: Any) -> None:
            self.closed_by_user = True
            await self.on_close()
            await close(**reason)

        async def shared() -> CDPSession:
            self._shared = True
            return await new_session()

        # `page.context.browser` is this very object. Playwright has no event that tells a close from a crash, and a
        # proxy belongs to a context, as a trace does: one that user code opens would go past that of the Run.
        setattr(browser, "close", noted)  # noqa: B010
        setattr(browser, "new_browser_cdp_session", shared)  # noqa: B010
        setattr(browser, "new_context", self._noted(browser.new_context))  # noqa: B010
        setattr(browser, "new_page", self._noted(browser.new_page))  # noqa: B010

    @classmethod
    async def launch(
        cls, playwright: Playwright, setup: BrowserSetup, watch: Callable[[BrowserContext], None]
    ) -> WarmBrowser:
        """Launch it; `watch` is told every context that is opened. Raises playwright's Error."""
        # Whoever reaches the debugging port owns the browser: it is opened only for those who need it.
        debugging = ["--remote-debugging-port=0"] if setup.debugging else []
        browser = await playwright.chromium.launch(
            executable_path=setup.executable,
            args=[*setup.arguments, *debugging],
            headless=setup.headless,
            chromium_sandbox=setup.sandbox,
            traces_dir=setup.traces,
            env={**os.environ, **setup.environment},
            handle_sigint=False,  # the keeper ends everything; the browser must not end by itself
            handle_sigterm=False,
            handle_sighup=False,
        )
        session = await browser.new_browser_cdp_session()
        if setup.debugging and setup.on_refused_file is not None:
            await guard_browser(session, setup.on_refused_file)
        version = await ask(session, "Browser.getVersion")
        processes = (await ask(session, "SystemInfo.getProcessInfo"))["processInfo"]
        vital = Vital(next(process["id"] for process in processes if process["type"] == "browser"))
        # Sites turn a browser away that calls itself headless; it is the same browser (docs/contract.md, section 4.4).
        user_agent = str(version["userAgent"]).replace("HeadlessChrome", "Chrome")
        cdp_url = await asyncio.to_thread(_debugging_address) if setup.debugging else None
        return cls(browser, session, vital, user_agent, setup.viewport, cdp_url, watch)

    @property
    def version(self) -> str:
        """The browser's own version."""
        return self._browser.version

    async def call(self) -> None:
        """Ask the browser for a sign of life: about a millisecond, there and back through the driver.

        Playwright tells when its browser ends, but not when the driver does.

        Raises:
            PlaywrightError: Browser or driver are gone.
            TimeoutError: No answer.
        """
        async with asyncio.timeout(_ANSWER_WITHIN):
            await ask(self._session, "Browser.getVersion")
        self._answered = time.monotonic()

    async def check(self) -> None:
        """The same at next to no cost where it has answered a moment ago, and its processes run. Errors as for it."""
        lately = time.monotonic() - self._answered < _LATELY
        if not (lately and self._browser.is_connected() and self._vital.run):
            await self.call()

    async def open_tab(self, proxy: ProxySettings | None = None) -> Tab:
        """A fresh context with one page. Raises playwright's Error."""
        width, height = self._viewport
        self._proxy = proxy
        context = await self._new_context(
            viewport={"width": width, "height": height}, user_agent=self._user_agent, proxy=proxy
        )
        self._watch(context)
        try:
            tab = Tab(context, await context.new_page())
        except BaseException:
            with contextlib.suppress(PlaywrightError):
                await context.close()
            raise
        self._answered = time.monotonic()
        if proxy is not None:
            tab.watch_proxy()
        return tab

    async def close_contexts(self) -> bool:
        """Close what contexts there still are, such as those that user code opened; False if one would not close."""
        closed = await asyncio.gather(*(close_context(context) for context in self._browser.contexts))
        if self._shared:
            closed.append(await _done_in_time(self._dispose_foreign_contexts()))
        return all(closed)

    async def _dispose_foreign_contexts(self) -> None:
        """Contexts that our Playwright knows not of: other clients of the browser made them."""
        for context in (await ask(self._session, "Target.getBrowserContexts"))["browserContextIds"]:
            with contextlib.suppress(PlaywrightError):  # it goes by itself as its client does
                await ask(self._session, "Target.disposeBrowserContext", browserContextId=context)

    def _noted[T: BrowserContext | Page](self, opens: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
        async def opened(**options: Any) -> T:
            if options.get("proxy") is None:
                options["proxy"] = self._proxy
            made = await opens(**options)
            context = made.context if isinstance(made, Page) else made
            self._watch(context)
            await self.on_context(context)
            return made

        return opened

    async def close(self) -> None:
        """Close it, bounded; the keeper has the last word."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._browser.close()


async def nothing() -> None:
    """Done at once."""


async def _ignored(_context: BrowserContext) -> None:
    pass


async def ask(session: CDPSession, method: str, **parameters: str) -> dict[str, Any]:
    """Ask the browser by its own protocol."""
    return cast("dict[str, Any]", await session.send(method, parameters))  # pyright: ignore[reportUnknownMemberType]


def _debugging_address() -> str:
    """Where the browser listens: it writes that into its profile, which lies in this Machine's temporary folder.

    Raises:
        FileNotFoundError: It has not; launching has waited for the browser, so it is there or never.
    """
    for file in Path(tempfile.gettempdir()).glob("*/DevToolsActivePort"):
        port, path = file.read_text().split()
        return f"ws://127.0.0.1:{port}{path}"
    raise FileNotFoundError("the browser did not say where its debugging port is")
