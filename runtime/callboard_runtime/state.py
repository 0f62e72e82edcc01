"""The state of an AuthSession: its shape (docs/contract.md, section 4.5), and whether two states are the same login."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from .failures import UserCodeError

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
    if len(text) > LIMIT:
        raise StateError(f"it is {len(text)} bytes of JSON, and at most {LIMIT} are kept")
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
    """Return one entry for each origin that has items. Of two items with the same name, the first one counts."""
    stored: dict[str, dict[str, str]] = {}
    for entry in entries or ():
        items = stored.setdefault(_origin(entry["origin"]), {})
        for item in entry.get(storage) or ():
            items.setdefault(_text(item["name"]), _text(item["value"]))
    return [
        {"origin": origin, storage: [{"name": name, "value": value} for name, value in items.items()]}
        for origin, items in stored.items()
        if items and origin.startswith(("http://", "https://"))
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


def _by_name(items: list[dict[str, str]]) -> dict[str, str]:
    return {item["name"]: item["value"] for item in items}
