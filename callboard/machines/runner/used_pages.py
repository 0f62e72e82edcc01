"""The pages that a person has used, each until it shows its next document: until then it may show what was typed.

A document that the browser loads anew or goes back to does not count: its fields may have what was typed before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any

from callboard_runtime.cdp import send
from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

_WATCHED_WITHIN = 2.0
"""Seconds to begin to watch a page. One that is too busy counts as used for as long as it is there."""


class UsedPages:
    """The pages of one Attempt that show what a person may have typed."""

    def __init__(self) -> None:
        self.is_held = False
        """Whether a person has the browser, so that all pages count."""
        self.on_document: Callable[[], None] = lambda: None
        """Is called when a page shows a document that nobody has used."""
        self._used: set[Page] = set()
        self._watched: set[Page] = set()

    def __contains__(self, page: Page | None) -> bool:
        """Tell whether a page may show what was typed; None stands for one that is not known."""
        return self.is_held or page in self._used

    def are_in(self, context: BrowserContext) -> bool:
        """Tell whether a page of this context may show what was typed."""
        return any(page in self for page in context.pages)

    async def add(self, page: Page) -> None:
        """Note that a person uses a page. Its next document is not missed once this returns."""
        self._used.add(page)
        if page not in self._watched:
            self._watched.add(page)
            with contextlib.suppress(PlaywrightError, TimeoutError):
                async with asyncio.timeout(_WATCHED_WITHIN):
                    await self._watch(page)

    async def _watch(self, page: Page) -> None:
        session = await page.context.new_cdp_session(page)
        tree = await send(session, "Page.getFrameTree")
        main, new = tree["frameTree"]["frame"]["id"], ""

        def started(event: dict[str, Any]) -> None:
            nonlocal new
            if event["frameId"] == main:  # others show a part of the page, and there may be any number
                new = event["loaderId"] if event["navigationType"] == "differentDocument" else ""

        def navigated(event: dict[str, Any]) -> None:
            frame = event["frame"]
            if frame["id"] == main and frame["loaderId"] == new:
                self._used.discard(page)
                self.on_document()

        session.on("Page.frameStartedNavigating", started)
        session.on("Page.frameNavigated", navigated)
        await send(session, "Page.enable")
