"""Put the state of an AuthSession into a browser context, before user code (docs/contract.md, section 4.5).

No request is sent to any site: if an origin has to be visited, so that its storage can be written, the visit is
answered with a stub.
"""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Route
from playwright.async_api import Error as PlaywrightError

from .browser import ask
from .state import State, StateError, unexpired

# It has an icon of its own, as a browser with a window would request one from the site.
_STUB = '<!doctype html><link rel="icon" href="data:,">'
_BLANK = "about:blank"

# The items are passed as JSON text: only so can invalid Unicode be passed, which some libraries keep in storage.
_FILL_LOCAL_STORAGE = """told => {
    const [origin, items] = JSON.parse(told);
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
    # Open the session only now: one that is older than the page's process is told, at times, that there is no page.
    session = await context.new_cdp_session(page)
    await ask(session, "Page.resetNavigationHistory")
    await session.detach()


async def _answer(route: Route) -> None:
    await route.fulfill(content_type="text/html", body=_STUB)
