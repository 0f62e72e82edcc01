"""The state of an AuthSession in a browser context: put in before user code, taken out after it.

docs/contract.md, section 4.5, says what it is. No request is sent to any site: if an origin has to be visited, so that
its storage can be written, the visit is answered with a stub.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Route
from playwright.async_api import Error as PlaywrightError

from .cdp import send
from .state import State, StateError, of_browser, unexpired

# It has an icon of its own, as a browser with a window would request one from the site.
_STUB = '<!doctype html><link rel="icon" href="data:,">'
_BLANK = "about:blank"

# The items are passed as JSON text: only so can invalid Unicode be passed, which some libraries keep in storage.
_FILL_LOCAL_STORAGE = """text => {
    const [origin, items] = JSON.parse(text);
    if (new URL(origin).origin !== self.origin) throw new Error(`${origin} is no origin`);
    for (const {name, value} of items) localStorage.setItem(name, value);
}"""

# This runs in every document of the context, before its own scripts. A document that may not have storage throws, and
# so does one whose storage is full; neither is a reason to break a page that would work.
_FILL_SESSION_STORAGE = """(stored => {
    for (const {origin, sessionStorage: items} of stored) {
        try {
            if (new URL(origin).origin !== self.origin) continue;
            for (const {name, value} of items) {
                if (sessionStorage.getItem(name) === null) sessionStorage.setItem(name, value);
            }
        } catch {}
    }
})"""

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


async def restore(context: BrowserContext, state: State, *, unused: Page | None = None) -> None:
    """Restore `state` in `context`, on top of what is there.

    Args:
        context: The context.
        state: The state of the AuthSession.
        unused: A page of the context that nobody has worked with yet.

    Raises:
        StateError: The browser does not accept the state.
    """
    try:
        await _add_cookies(context, unexpired(state["cookies"]))
        if state["origins"]:
            await _fill_local_storage(context, state["origins"], unused)
        if state["sessionStorage"]:
            await context.add_init_script(f"{_FILL_SESSION_STORAGE}({json.dumps(state['sessionStorage'])})")
    except PlaywrightError as error:
        raise StateError(f"The state of the AuthSession could not be restored: {error.message}") from error


async def _add_cookies(context: BrowserContext, cookies: list[Any]) -> None:
    if not cookies:
        return
    try:
        await context.add_cookies(cookies)
    except PlaywrightError:
        for cookie in cookies:  # the browser does not say which cookie it refuses
            try:
                await context.add_cookies([cookie])
            except PlaywrightError as error:
                raise StateError(
                    f"The state of the AuthSession could not be restored: the browser does not take cookie "
                    f"{cookie['name']!r} of {cookie['domain']}: {error.message}"
                ) from error
        raise


async def _fill_local_storage(context: BrowserContext, origins: list[dict[str, Any]], unused: Page | None) -> None:
    """Visit each origin and fill its local storage.

    This uses the page `unused` if there is one, as to open another would cost as much as all the rest.
    """
    page = unused or await context.new_page()
    await page.route("**/*", _answer)
    for entry in origins:
        await page.goto(entry["origin"])
        await page.evaluate(_FILL_LOCAL_STORAGE, json.dumps([entry["origin"], entry["localStorage"]]))
    if unused is None:
        await page.close()
    else:
        await _make_blank(context, unused)


async def _make_blank(context: BrowserContext, page: Page) -> None:
    """Make the page as it was: blank, with an empty history."""
    await page.unroute("**/*", _answer)
    await page.goto(_BLANK)
    # Open the session only now. One that is older than the page's process is sometimes answered that there is no page.
    session = await context.new_cdp_session(page)
    await send(session, "Page.resetNavigationHistory")
    await session.detach()


async def _answer(route: Route) -> None:
    await route.fulfill(content_type="text/html", body=_STUB)


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
    states: list[Any] = await asyncio.gather(context.storage_state(), *map(_session_storage, context.pages))
    stored, *pages = states
    return of_browser(stored["cookies"], stored["origins"], [one for one in pages if one is not None], before)


async def _session_storage(page: Page) -> Any:
    """Return origin and session storage of the page's top frame; None if it has none, or denies access."""
    for _ in range(_LOOKS):
        try:
            stored = await page.evaluate(_SESSION_STORAGE)
        except PlaywrightError:
            continue
        return stored if stored["origin"].startswith(("http://", "https://")) else None
    return None
