"""Which addresses the browser opens for user code, and how addresses are shown (docs/contract.md, section 4.2).

An API often opens an address that its caller has sent, and some lead into the machine itself, such as
`file:///etc/passwd`. Chromium refuses those to pages: links, scripts, frames and redirects cannot lead to them. It
opens them for whoever controls the browser, so that is where they are refused:

- `check` stands before this process's Playwright: all of its clients go through `Frame.goto`. This costs nothing.
- `guard_browser` guards the files themselves, if other programs may control the browser by its debugging port. There
  every request passes through Chromium's interception, which costs time, so this is only for browsers that have such a
  port.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_plus, urlsplit, urlunsplit

from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .cdp import send

_ALLOWED = frozenset({"about", "blob", "data", "http", "https"})
_COMPLETED = "localhost"
"""Start of an address that is no scheme, although a colon may follow: Playwright puts `http://` before it."""

_MASK = "***"
_LONGEST = 500
"""Most characters of an address that are shown."""
_SECRET_WORDS = frozenset(
    {
        *("pass", "pw", "pwd", "pin", "otp", "totp", "mfa", "code", "key", "auth", "authorization", "bearer", "jwt"),
        *("sid", "session", "csrf", "xsrf", "signature", "sig", "seed", "mnemonic", "cvv", "cvc", "ssn", "answer"),
        "state",  # of a sign-in by OAuth
    }
)
"""Words in names of parameters whose values are not shown, as in `callboard.security.secret_detection`."""
_SECRET_PARTS = ("passw", "passphrase", "passcode", "passkey", "secret", "token", "credential", "apikey", "privatekey")
"""Parts of such names, also without word boundaries."""
_WORD_OF_NAME = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[0-9]+")
_LONG = re.compile(r"[A-Za-z0-9+/=_.~:%|-]{20,}")
"""Pattern of a value that is random if there is no word in it."""
_WORD = re.compile(r"(?<![A-Za-z0-9])[A-Za-z]?[a-z]{2,}(?![A-Za-z0-9])|^\d{4}-\d\d-\d\dT|://")
"""Pattern of a word, a time or an address in such a value."""
_SEPARATOR = re.compile(r"([&;])")
_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SKIPPED_BEFORE = "".join(map(chr, range(0x21)))
_SKIPPED_ANYWHERE = str.maketrans("", "", "\t\n\r")
"""Characters that browsers ignore in addresses (WHATWG's URL standard), so they must not hide a scheme."""


async def guard_browser(session: CDPSession, on_refused: Callable[[str], None]) -> None:
    """Refuse files in all of the browser that `session` is connected to, whoever opens them.

    `on_refused` is called with the URL of each refused file. To guard the scheme `file` is enough here:
    Chromium asks for the same file also under `view-source:`.
    """

    async def refuse(event: dict[str, Any]) -> None:
        on_refused(event["request"]["url"])
        with contextlib.suppress(PlaywrightError):  # the page and its request are gone
            await send(session, "Fetch.failRequest", requestId=event["requestId"], errorReason="BlockedByClient")

    session.on("Fetch.requestPaused", refuse)
    await send(session, "Fetch.enable", patterns=[{"urlPattern": "file:*"}])


def check(url: Any, base: str | None = None) -> None:
    """Raise Playwright's error if `url` must not be opened; Playwright itself complains about what is no text."""
    if isinstance(url, str) and (reason := refusal(url, base)):
        raise PlaywrightError(reason)


def refusal(url: str, base: str | None = None) -> str | None:
    """Say why `url` must not be opened; None if it may be opened. A relative one is resolved against `base`."""
    scheme = _scheme_of(url) or _scheme_of(base or "")
    if scheme is None or scheme in _ALLOWED or scheme == _COMPLETED:
        return None
    return sentence(url)


def sentence(url: str) -> str:
    """Say that `url` was refused, and what allows it."""
    return (
        f"{shown(_cleaned(url))} was refused: only http:, https:, data:, blob: and about: addresses may be opened."
        " To allow all addresses, including those of files on the worker, set allowFileUrls to true in the project's"
        " settings file."
    )


def shown(url: str) -> str:
    """Return `url` without user part, fragment, and secrets in its query; of a `data:` address only the type.

    A value in the query is a secret if its name says so, or if it looks random. What Callboard knows as a secret is
    masked in the whole log, by whoever reads it.
    """
    if url.startswith("data:"):
        return f"{url[:100].partition(',')[0]},…"
    try:
        parts = urlsplit(url)
    except ValueError:
        return _MASK
    _, at, host = parts.netloc.rpartition("@")
    query = "".join(map(_shown_pair, _SEPARATOR.split(parts.query)))
    masked = urlunsplit((parts.scheme, f"{_MASK}@{host}" if at else host, parts.path, query, ""))
    return masked if len(masked) <= _LONGEST else f"{masked[:_LONGEST]}…"


def _shown_pair(text: str) -> str:
    name, equals, value = text.partition("=")
    if not equals:
        return _MASK if _looks_random(text) else text
    return f"{name}={_MASK}" if value and (_is_secret_name(unquote_plus(name)) or _looks_random(value)) else text


def _is_secret_name(name: str) -> bool:
    if any(part in re.sub(r"[\W_]", "", name).lower() for part in _SECRET_PARTS):
        return True
    words = {word.lower() for word in _WORD_OF_NAME.findall(name)}
    return not _SECRET_WORDS.isdisjoint(words | {word.removesuffix("s") for word in words})


def _looks_random(value: str) -> bool:
    plain = unquote_plus(value)
    return _LONG.fullmatch(plain) is not None and not _WORD.search(plain)


def _scheme_of(url: str) -> str | None:
    found = _SCHEME.match(_cleaned(url))
    return found[1].lower() if found else None


def _cleaned(url: str) -> str:
    return url.lstrip(_SKIPPED_BEFORE).translate(_SKIPPED_ANYWHERE)
