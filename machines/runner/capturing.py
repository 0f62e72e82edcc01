"""Take the state of an AuthSession out of a browser context, after user code (docs/contract.md, section 4.5)."""

from __future__ import annotations

import asyncio
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .state import State, StateError, of_browser

CAPTURE_WITHIN = 5.0
"""Seconds that capturing the state may take. A busy page answers in that time if it ever does."""

# Read item by item: an item may have the name of a method of storage, and other ways would then not work.
_SESSION_STORAGE = """() => {
    const items = [];
    for (let n = 0; n < sessionStorage.length; n++) {
        const name = sessionStorage.key(n);
        items.push({name, value: sessionStorage.getItem(name)});
    }
    return {origin: self.origin, sessionStorage: items};
}"""

_LOOKS = 2
"""Tries to read a page. If another client has navigated it, ours may not know that yet, and ask the old document."""


def is_wanted(kind: str, *, capture: bool, restored: bool, good: bool) -> bool:
    """Tell whether the state is captured after a good end.

    Args:
        kind: Kind of the Attempt: `api`, `check` or `create`.
        capture: Whether the Attempt is asked for what has changed of its login.
        restored: Whether the login was restored completely before.
        good: Whether the function returned what is true, which a check does if the login is good.
    """
    return kind == "create" or (capture and restored and (kind != "check" or good))


def uncaptured(kind: str, error: StateError) -> str:
    """Return why the state is not known, or raise it as the failure of a create, which is there for nothing else."""
    if kind == "create":
        raise StateError(f"create has ended, but the state of its login could not be captured: {error}") from error
    return str(error)


async def captured(context: BrowserContext, before: State | None) -> State:
    """Return the state that `context` is in, in bounded time. `before` is what was restored in it.

    Raises:
        StateError: The state cannot be captured. Its message is written to follow a colon.
    """
    try:
        async with asyncio.timeout(CAPTURE_WITHIN):
            return await capture(context, before)
    except TimeoutError as error:
        raise StateError(f"the browser did not tell it within {CAPTURE_WITHIN:g} seconds") from error
    except Exception as error:  # a client that the hook brought may have been ended in any way
        raise StateError(str(error) or type(error).__name__) from error


async def capture(context: BrowserContext, before: State | None) -> State:
    """Return the state that `context` is in. `before` is what was restored in it.

    This is not bounded: it waits for a page that is busy for ever. IndexedDB is no part of the state.

    Raises:
        PlaywrightError: The context is closed, or its browser is gone.
    """
    told: list[Any] = await asyncio.gather(_stored(context), *map(_session_storage, context.pages))
    stored, *pages = told
    return of_browser(stored["cookies"], stored["origins"], [one for one in pages if one is not None], before)


async def _stored(context: BrowserContext) -> Any:
    """Return cookies and local storage of the context."""
    return await context.storage_state()


async def _session_storage(page: Page) -> Any:
    """Return origin and session storage of the page's top frame; None if it has none, or denies access."""
    for _ in range(_LOOKS):
        try:
            told = await page.evaluate(_SESSION_STORAGE)
        except PlaywrightError:
            continue
        return told if told["origin"].startswith(("http://", "https://")) else None
    return None
