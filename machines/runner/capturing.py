"""Take the state of an AuthSession out of a browser context, after user code (docs/contract.md, section 4.5)."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .state import State, of_browser

# Item by item: an item may be called as a method of storage is, and hide it from other ways.
_SESSION_STORAGE = """() => {
    const items = [];
    for (let n = 0; n < sessionStorage.length; n++) {
        const name = sessionStorage.key(n);
        items.push({name, value: sessionStorage.getItem(name)});
    }
    return {origin: self.origin, sessionStorage: items};
}"""

_LOOKS = 2
"""At a page. Where another client has led it elsewhere, ours may not have heard of it yet, and asks what was there."""


async def capture(context: BrowserContext, before: State | None) -> State:
    """The state that `context` is in. `before` is what was restored in it.

    Not bounded: a page that is busy for ever is waited for. IndexedDB is no part of it.

    Raises:
        PlaywrightError: It is closed, or its browser is gone.
    """
    told: list[Any] = await asyncio.gather(_stored(context), *map(_session_storage, context.pages))
    stored, *pages = told
    return of_browser(stored["cookies"], stored["origins"], [one for one in pages if one is not None], before)


async def _stored(context: BrowserContext) -> Any:
    """Cookies and local storage."""
    return await context.storage_state()


async def _session_storage(page: Page) -> Any:
    """Of the page's top frame; None for a page that has none, or denies access."""
    for _ in range(_LOOKS):
        try:
            told = await page.evaluate(_SESSION_STORAGE)
        except PlaywrightError:
            continue
        return told if told["origin"].startswith(("http://", "https://")) else None
    return None
