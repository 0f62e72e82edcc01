"""The state of an AuthSession (docs/contract.md, section 4.5): its shape, and its way into a browser and out of it.

No request is sent to any site when a state is restored: if an origin has to be visited, so that its storage can be
written, the visit is answered with a stub.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import BrowserContext, Page, Route
from playwright.async_api import Error as PlaywrightError

from . import indexed_db
from .cdp import send
from .failures import UserCodeError
from .results import is_too_deep

log = logging.getLogger(__name__)

State = dict[str, Any]
"""Type of a state: `cookies`, `origins` and `sessionStorage`, in the exact shape of the contract."""
NOTHING: State = {"cookies": [], "origins": [], "sessionStorage": []}

LIMIT = 16 * 1024 * 1024
"""Most bytes of JSON text of a state: far more than a working site keeps."""
_SAME_TIME = 60.0
"""Seconds by which the expiry of a cookie must move to count as changed: sites put it off with each response."""
_SAME_SITE = ("Strict", "Lax", "None")
_PORTS = {"http": ":80", "https": ":443"}
_SESSION = -1
"""Value of `expires` for a cookie that ends with the browser."""

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

_CAPTURE_WITHIN = 5.0
"""Seconds that capturing the state may take. A busy page answers in that time if it ever does."""
_CAPTURE_DATABASES_WITHIN = 60.0
"""The same with IndexedDB: a state of the largest size is read in a tenth of that, and a loaded host has the rest."""
_FIND_UNKEPT_WITHIN = 5.0
"""Seconds that finding out what the state lacks may take, after that."""

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


class StateError(UserCodeError):
    """The state cannot be restored, or cannot be captured. Another Attempt may have another state."""

    kind = "state"

    def __init__(self, message: str) -> None:
        super().__init__(message, name="StateError")


def parsed(text: str) -> State:
    """Parse the JSON text of a state; fill in what may be missing, and drop what does not belong there.

    Raises:
        StateError: The text is no state.
    """
    try:
        given: Any = json.loads(text)
        return {
            "cookies": [_cookie(cookie) for cookie in given.get("cookies") or ()],
            "origins": _of_origins(given.get("origins"), "localStorage"),
            "sessionStorage": _of_origins(given.get("sessionStorage"), "sessionStorage"),
        }
    except (ValueError, TypeError, AttributeError, LookupError) as error:
        # The message of the original error could quote a part of the state.
        raise StateError(
            "The state of the AuthSession is not of the shape that a state has: an object with the lists `cookies`, "
            f"`origins` and `sessionStorage` ({type(error).__name__})."
        ) from None


def of_browser(cookies: Iterable[Any], origins: Iterable[Any], pages: list[Any], before: State | None) -> State:
    """Return the state of a browser from what Playwright gives, and origin and session storage of each open page.

    Session storage can only be read if a page of its origin is open: for other origins, that of `before` is kept.
    """
    seen = {entry["origin"] for entry in pages}
    kept = [entry for entry in before["sessionStorage"] if entry["origin"] not in seen] if before else []
    # A partitioned cookie has the same key as the unpartitioned one of the same site, which is to win.
    partitioned_first = sorted(cookies, key=lambda cookie: not cookie.get("partitionKey"))
    return {
        "cookies": list({_key(cookie): cookie for cookie in map(_cookie, partitioned_first)}.values()),
        "origins": _of_origins(origins, "localStorage"),
        "sessionStorage": _of_origins([*pages, *kept], "sessionStorage"),
    }


def as_text(state: State) -> str:
    """Return ASCII-escaped JSON of the state.

    Raises:
        StateError: The JSON is larger than `LIMIT`, or nested too deep. The message is written to follow a colon.
    """
    try:
        text = json.dumps(state, separators=(",", ":"))
    except RecursionError:
        raise StateError("it is nested too deep") from None
    if is_too_deep(text):
        raise StateError("it is nested too deep")
    if len(text) > LIMIT:
        too_large = f"it is {len(text)} bytes of JSON, and at most {LIMIT} are kept"
        largest = indexed_db.largest(state["origins"])
        raise StateError(f"{too_large}. {largest}" if largest else too_large)
    return text


def unexpired(cookies: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the cookies that have not expired yet."""
    now = time.time()
    return [cookie for cookie in cookies if cookie["expires"] == _SESSION or cookie["expires"] > now]


def differ(one: State, other: State) -> bool:
    """Tell whether two states are different logins. Neither order nor expired cookies matter."""
    if any(
        _storage(one[place], storage) != _storage(other[place], storage)
        for place, storage in (("origins", "localStorage"), ("sessionStorage", "sessionStorage"))
    ):
        return True
    if _databases(one) != _databases(other):
        return True
    ours, theirs = ({_key(cookie): cookie for cookie in unexpired(state["cookies"])} for state in (one, other))
    return ours.keys() != theirs.keys() or any(_cookies_differ(cookie, theirs[key]) for key, cookie in ours.items())


def _cookie(cookie: Any) -> dict[str, Any]:
    expires, same_site = cookie.get("expires"), cookie.get("sameSite")
    return {
        "name": _text(cookie["name"]),
        "value": _text(cookie["value"]),
        "domain": _text(cookie["domain"]),
        "path": _text(cookie.get("path") or "/"),
        "expires": expires if isinstance(expires, int | float) and 0 <= expires < math.inf else _SESSION,
        "httpOnly": bool(cookie.get("httpOnly")),
        "secure": bool(cookie.get("secure")),
        "sameSite": same_site if same_site in _SAME_SITE else "Lax",
    }


def _of_origins(entries: Iterable[Any] | None, storage: str) -> list[dict[str, Any]]:
    """Return one entry for each origin that has something. Of two items with the same name, the first one counts."""
    stored: dict[str, dict[str, str]] = {}
    more: dict[str, dict[str, Any]] = {}
    for entry in entries or ():
        origin = _origin(entry["origin"])
        items = stored.setdefault(origin, {})
        for item in entry.get(storage) or ():
            items.setdefault(_text(item["name"]), _text(item["value"]))
        if storage == "localStorage" and (databases := entry.get("indexedDB")):
            more.setdefault(origin, {"indexedDB": indexed_db.databases_of(databases)})
    return [
        {
            "origin": origin,
            storage: [{"name": name, "value": value} for name, value in items.items()],
            **more.get(origin, {}),
        }
        for origin, items in stored.items()
        if (items or origin in more) and origin.startswith(("http://", "https://"))
    ]


def _origin(origin: str) -> str:
    """Return the origin as the browser spells it."""
    parts = urlsplit(_text(origin).lower())
    return f"{parts.scheme}://{parts.netloc.removesuffix(_PORTS.get(parts.scheme, ''))}"


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(type(value).__name__)
    return value


def _key(cookie: dict[str, Any]) -> tuple[str, str, str]:
    return cookie["name"], cookie["domain"], cookie["path"]


def _cookies_differ(one: dict[str, Any], other: dict[str, Any]) -> bool:
    if any(one[field] != other[field] for field in ("value", "httpOnly", "secure", "sameSite")):
        return True
    ends = one["expires"], other["expires"]
    return (_SESSION in ends and ends[0] != ends[1]) or abs(ends[0] - ends[1]) >= _SAME_TIME


def _storage(entries: list[dict[str, Any]], storage: str) -> dict[str, dict[str, str]]:
    return {entry["origin"]: _by_name(entry[storage]) for entry in entries}


def _databases(state: State) -> dict[str, Any]:
    return {
        entry["origin"]: indexed_db.comparable(entry["indexedDB"]) for entry in state["origins"] if "indexedDB" in entry
    }


def _by_name(items: list[dict[str, str]]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in items}


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
            await _fill_storages(context, state["origins"], unused)
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


async def _fill_storages(context: BrowserContext, origins: list[dict[str, Any]], unused: Page | None) -> None:
    """Visit each origin and fill its local storage and its databases.

    This uses the page `unused` if there is one, as to open another would cost as much as all the rest.
    """
    page = unused or await context.new_page()
    await page.route("**/*", _answer)
    for entry in origins:
        await page.goto(entry["origin"])
        await page.evaluate(_FILL_LOCAL_STORAGE, json.dumps([entry["origin"], entry["localStorage"]]))
        if databases := entry.get("indexedDB"):
            await page.evaluate(indexed_db.FILL, json.dumps([entry["origin"], databases]))
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
    """Return a sentence that says why the state is not known.

    Raises:
        StateError: The same as the failure of a create, which is there for nothing else.
    """
    if kind == "create":
        raise StateError(f"create has ended, but the state of its login could not be captured: {error}") from error
    return f"What the site has changed in its login is not kept: {str(error).rstrip('.')}."


def capture_within(*, databases: bool) -> float:
    """Return the seconds that `captured` takes at most, with IndexedDB or without."""
    return _CAPTURE_DATABASES_WITHIN + _FIND_UNKEPT_WITHIN if databases else _CAPTURE_WITHIN


async def captured(context: BrowserContext, before: State | None, *, databases: bool) -> tuple[State, str | None]:
    """Return the state that `context` is in, and a sentence that names what it lacks, if anything, in bounded time.

    Args:
        context: The context.
        before: What was restored in it.
        databases: Whether IndexedDB is a part of the state.

    Raises:
        StateError: The state cannot be captured. Its message is written to follow a colon.
    """
    within = _CAPTURE_DATABASES_WITHIN if databases else _CAPTURE_WITHIN
    try:
        async with asyncio.timeout(within):
            state = await capture(context, before, databases=databases)
    except TimeoutError as error:
        hint = ". Its IndexedDB may be too large, or a page be busy with it" if databases else ""
        raise StateError(f"the browser did not tell it within {within:g} seconds{hint}") from error
    except Exception as error:  # a client that the hook brought may have been ended in any way
        raise StateError(str(error).partition("\nCall log:")[0] or type(error).__name__) from error
    return state, await _unkept(context, state)


async def capture(context: BrowserContext, before: State | None, *, databases: bool) -> State:
    """Return the state that `context` is in; see `captured`.

    This is not bounded: it waits for a page that is busy for ever.

    Raises:
        PlaywrightError: The context is closed, or its browser is gone.
    """
    states: list[Any] = await asyncio.gather(
        context.storage_state(indexed_db=databases), *map(_session_storage, context.pages)
    )
    stored, *pages = states
    return of_browser(stored["cookies"], stored["origins"], [one for one in pages if one is not None], before)


async def _unkept(context: BrowserContext, state: State) -> str | None:
    """Return a sentence that names the values of IndexedDB that are not in the state; None if all of them are."""
    origins = [
        entry["origin"] for entry in state["origins"] if indexed_db.may_lack_something(entry.get("indexedDB", []))
    ]
    if not origins:
        return None
    found: list[str] = []
    script = indexed_db.find_unkept(1000 * _FIND_UNKEPT_WITHIN / 2 / len(origins))
    try:
        async with asyncio.timeout(_FIND_UNKEPT_WITHIN):
            page = await context.new_page()
            await page.route("**/*", _answer)  # no script of the site is there, which could hide something
            # A worker of the site would answer before that, with requests of its own, and could renew a token.
            session = await context.new_cdp_session(page)
            await send(session, "Network.enable")
            await send(session, "Network.setBypassServiceWorker", bypass=True)
            for origin in origins:
                await page.goto(origin)
                found += indexed_db.named(origin, await page.evaluate(*script))
            await page.close()
    except Exception as error:  # the state is known, and it must be said that it may lack something
        log.debug("what a state lacks could not be found out", exc_info=error)
        found.append("perhaps more, as the browser did not tell the kinds of all values")
    if len(found) > indexed_db.MOST_UNKEPT:
        found[indexed_db.MOST_UNKEPT :] = [f"{len(found) - indexed_db.MOST_UNKEPT} more"]
    return f"The login has empty objects in place of what cannot be kept: {'; '.join(found)}." if found else None


async def _session_storage(page: Page) -> Any:
    """Return origin and session storage of the page's top frame; None if it has none, or denies access."""
    for _ in range(_LOOKS):
        try:
            stored = await page.evaluate(_SESSION_STORAGE)
        except PlaywrightError:
            continue
        return stored if stored["origin"].startswith(("http://", "https://")) else None
    return None
