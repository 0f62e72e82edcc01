"""The Machine's one warm browser, and a fresh context and page for each Attempt."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass
from typing import Any, cast

from playwright.async_api import Browser, BrowserContext, Page, Playwright, ProxySettings
from playwright.async_api import Error as PlaywrightError

CLOSE_WITHIN = 5.0
"""Seconds, for a context and for the browser; whatever takes longer is killed with the Machine."""


@dataclass
class Tab:
    """A fresh context with one page."""

    context: BrowserContext
    page: Page

    async def close(self) -> bool:
        """Close the context; False if it would not close in time."""
        try:
            async with asyncio.timeout(CLOSE_WITHIN):
                await self.context.close()
        except TimeoutError:
            return False
        except PlaywrightError:
            return True  # the browser is gone, and the context with it
        return True


class WarmBrowser:
    """One browser process, launched once."""

    def __init__(self, browser: Browser, user_agent: str, viewport: tuple[int, int]) -> None:
        self._browser = browser
        self._user_agent = user_agent
        self._viewport = viewport
        self._gone = asyncio.Event()
        browser.on("disconnected", lambda _: self._gone.set())

    @classmethod
    async def launch(
        cls, playwright: Playwright, executable: str, arguments: list[str], viewport: tuple[int, int]
    ) -> WarmBrowser:
        """Launch it. Raises playwright's Error."""
        browser = await playwright.chromium.launch(
            executable_path=executable,
            args=arguments,
            handle_sigint=False,  # the keeper ends everything; the browser must not end by itself
            handle_sigterm=False,
            handle_sighup=False,
        )
        session = await browser.new_browser_cdp_session()
        version = cast("dict[str, Any]", await session.send("Browser.getVersion"))  # pyright: ignore[reportUnknownMemberType]
        await session.detach()
        # Sites turn a browser away that calls itself headless; it is the same browser (contract 4.4).
        user_agent = str(version["userAgent"]).replace("HeadlessChrome", "Chrome")
        return cls(browser, user_agent, viewport)

    @property
    def version(self) -> str:
        """The browser's own version."""
        return self._browser.version

    @property
    def connected(self) -> bool:
        """Whether the browser process is there."""
        return self._browser.is_connected()

    async def wait_disconnected(self, within: float) -> None:
        """Wait for the end of the browser process, at most `within` seconds."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within):
                await self._gone.wait()

    async def open_tab(self, proxy: ProxySettings | None = None) -> Tab:
        """A fresh context with one page. Raises playwright's Error."""
        width, height = self._viewport
        context = await self._browser.new_context(
            viewport={"width": width, "height": height}, user_agent=self._user_agent, proxy=proxy
        )
        try:
            return Tab(context, await context.new_page())
        except BaseException:
            with contextlib.suppress(PlaywrightError):
                await context.close()
            raise

    async def close(self) -> None:
        """Close it, bounded; the keeper has the last word."""
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(CLOSE_WITHIN):
                await self._browser.close()
