"""The Machine's one warm browser, and a fresh context and page for each Attempt."""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from playwright.async_api import Browser, BrowserContext, CDPSession, Page, Playwright, ProxySettings
from playwright.async_api import Error as PlaywrightError

CLOSE_WITHIN = 5.0
"""Seconds, for a context and for the browser; whatever takes longer is killed with the Machine."""
_ANSWER_WITHIN = 2.0
"""Seconds. A browser that is alive answers at once, however busy its pages are."""


@dataclass
class Tab:
    """A fresh context with one page."""

    context: BrowserContext
    page: Page

    async def close(self) -> bool:
        """Close the context; False if it would not close in time."""
        return await close_context(self.context)


async def close_context(context: BrowserContext) -> bool:
    """Close it, bounded; False if it would not close in time."""
    try:
        async with asyncio.timeout(CLOSE_WITHIN):
            await context.close()
    except TimeoutError:
        return False
    except PlaywrightError:
        return True  # the browser is gone, and the context with it
    return True


@dataclass(frozen=True)
class BrowserSetup:
    """How the browser is launched."""

    executable: str
    arguments: list[str]
    headless: bool
    debugging: bool
    """Whether other clients may connect to it, on loopback."""
    viewport: tuple[int, int]
    environment: dict[str, str]
    """What the browser needs beyond the child's own (a display)."""


class WarmBrowser:
    """One browser process, launched once."""

    def __init__(
        self,
        browser: Browser,
        session: CDPSession,
        user_agent: str,
        viewport: tuple[int, int],
        cdp_url: str | None,
    ) -> None:
        self.cdp_url = cdp_url
        """WebSocket address of the browser for other clients, if it was opened."""
        self._browser = browser
        self._user_agent = user_agent
        self._viewport = viewport
        self._session = session
        self.closed_by_user = False
        """User code has closed the browser itself, as some automations do at their end: that is no crash."""
        close = browser.close

        async def noted(**reason: Any) -> None:
            self.closed_by_user = True
            await close(**reason)

        # `page.context.browser` is this very object. Playwright has no event that tells a close from a crash.
        setattr(browser, "close", noted)  # noqa: B010

    @classmethod
    async def launch(cls, playwright: Playwright, setup: BrowserSetup) -> WarmBrowser:
        """Launch it. Raises playwright's Error."""
        # Whoever reaches the debugging port owns the browser: it is opened only for those who need it.
        debugging = ["--remote-debugging-port=0"] if setup.debugging else []
        browser = await playwright.chromium.launch(
            executable_path=setup.executable,
            args=[*setup.arguments, *debugging],
            headless=setup.headless,
            env={**os.environ, **setup.environment},
            handle_sigint=False,  # the keeper ends everything; the browser must not end by itself
            handle_sigterm=False,
            handle_sighup=False,
        )
        session = await browser.new_browser_cdp_session()
        version = await _ask_version(session)
        # Sites turn a browser away that calls itself headless; it is the same browser (contract 4.4).
        user_agent = str(version["userAgent"]).replace("HeadlessChrome", "Chrome")
        cdp_url = await asyncio.to_thread(_debugging_address) if setup.debugging else None
        return cls(browser, session, user_agent, setup.viewport, cdp_url)

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
            await _ask_version(self._session)

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


async def _ask_version(session: CDPSession) -> dict[str, Any]:
    return cast("dict[str, Any]", await session.send("Browser.getVersion"))  # pyright: ignore[reportUnknownMemberType]


def _debugging_address() -> str:
    """Where the browser listens: it writes that into its profile, which lies in this Machine's temporary folder.

    Raises:
        FileNotFoundError: It has not; launching has waited for the browser, so it is there or never.
    """
    for file in Path(tempfile.gettempdir()).glob("*/DevToolsActivePort"):
        port, path = file.read_text().split()
        return f"ws://127.0.0.1:{port}{path}"
    raise FileNotFoundError("the browser did not say where its debugging port is")
