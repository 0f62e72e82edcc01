"""Put the state of an AuthSession into a browser context, before user code (docs/contract.md, section 4.5).

No site is asked for anything: where an origin has to be visited, so that its storage can be written, the visit is
answered with a stub.
"""

from __future__ import annotations

import json
from typing import Any

from playwright.async_api import BrowserContext, Page, Route
from playwright.async_api import Error as PlaywrightError

from .browser import ask
from .state import State, StateError, unexpired

# With an icon of its own, as a browser with a window would ask the site for one.
_STUB = '<!doctype html><link rel="icon" href="data:,">'
_BLANK = "about:blank"

# Told as JSON text: what is no valid Unicode comes through that way only, and some libraries keep such in storage.
_FILL_LOCAL_STORAGE = """told => {
    const [origin, items] = JSON.parse(told);
    if (new URL(origin).origin !== self.origin) throw new Error(`${origin} is no origin`);
    for (const {name, value} of items) localStorage.setItem(name, value);
}"""

# Runs in every document of the context, before its own scripts. A document that may not have storage throws, and
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
    """Restore `state` in `context`, on top of what is there. `unused` is a page of it that nobody has worked with yet.

    Raises:
        StateError: The browser does not take it.
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
        for cookie in cookies:  # the browser does not say which of them it is
            try:
                await context.add_cookies([cookie])
            except PlaywrightError as error:
                raise StateError(
                    f"The state of the AuthSession could not be restored: the browser does not take cookie "
                    f"{cookie['name']!r} of {cookie['domain']}: {error.message}"
                ) from error
        raise


async def _fill_local_storage(context: BrowserContext, origins: list[dict[str, Any]], unused: Page | None) -> None:
    """Visit each origin. A page of one's own costs as much as all the rest: `unused` is taken, if there is one."""
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
    """Leave the page as it was: blank, with nothing to go back to."""
    await page.unroute("**/*", _answer)
    await page.goto(_BLANK)
    # Only now: a session that is older than the page's process is told, at times, that there is no page.
    session = await context.new_cdp_session(page)
    await ask(session, "Page.resetNavigationHistory")
    await session.detach()


async def _answer(route: Route) -> None:
    await route.fulfill(content_type="text/html", body=_STUB)
