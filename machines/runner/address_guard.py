"""Refuses to open addresses that lead into the machine itself, such as `file:///etc/passwd`.

An API often opens an address that its caller has sent. Chromium refuses such addresses to pages: links, scripts, frames
and redirects cannot lead to them. It opens them for whoever controls the browser, so that is where the guard stands:

- In front of this process's Playwright, every client of which goes through `Frame.goto`. It costs nothing.
- In front of the files themselves, where other programs may control the browser by its debugging port. There every
  request passes through Chromium's interception, which costs time, so it is only for browsers that have such a port.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable
from typing import Any, cast

from playwright._impl.cdp_session import CDPSession as CDPSessionImpl
from playwright._impl.frame import Frame as FrameImpl
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .urls import shown

_ALLOWED = frozenset({"about", "blob", "data", "http", "https"})
_COMPLETED = "localhost"
"""Playwright puts `http://` before an address that begins like this, so it is no scheme."""
_OPENING_COMMANDS = frozenset({"Page.navigate", "Target.createTarget"})
"""Commands of the browser's own protocol that open the address in their parameter `url`."""

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*):", re.IGNORECASE)
_SKIPPED_BEFORE = "".join(map(chr, range(0x21)))
_SKIPPED_ANYWHERE = str.maketrans("", "", "\t\n\r")
"""Browsers read addresses without these characters (WHATWG's URL standard), so they must not hide a scheme."""


def refusal(url: str, base: str | None = None) -> str | None:
    """Say why `url` must not be opened; None if it may be. A relative one is resolved against `base`."""
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


def guard_playwright() -> None:
    """Refuse such addresses in all that uses Playwright in this process, whatever browser it is connected to.

    It is Playwright's own implementation that is replaced, as its asynchronous and its synchronous classes have just
    that in common, and objects of these classes come into being in many ways (popups, frames, other clients).
    """
    goto: Any = FrameImpl.goto
    send: Any = cast("Any", CDPSessionImpl).send

    # These are no coroutine functions themselves: in the trace, a frame of ours would stand for that of the project.
    def guarded_goto(self: Any, url: str, *args: Any, **options: Any) -> Any:
        _check(url, self._page.context._options.get("baseURL") if self._page else None)  # noqa: SLF001
        return goto(self, url, *args, **options)

    def guarded_send(self: Any, method: str, params: Any, *args: Any, **options: Any) -> Any:
        if method in _OPENING_COMMANDS and params:
            _check(params.get("url"))
        return send(self, method, params, *args, **options)

    setattr(FrameImpl, "goto", guarded_goto)  # noqa: B010
    setattr(CDPSessionImpl, "send", guarded_send)  # noqa: B010


async def guard_browser(session: CDPSession, on_refused: Callable[[str], None]) -> None:
    """Refuse files in all of the browser that `session` is connected to, whoever opens them; `on_refused` gets the URL.

    The scheme `file` is enough here: Chromium asks for the same file also under `view-source:`.
    """
    send: Any = cast("Any", session).send

    async def refuse(event: dict[str, Any]) -> None:
        on_refused(event["request"]["url"])
        with contextlib.suppress(PlaywrightError):  # the page is gone, and its request with it
            await send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": "BlockedByClient"})

    session.on("Fetch.requestPaused", refuse)
    await send("Fetch.enable", {"patterns": [{"urlPattern": "file:*"}]})


def _check(url: Any, base: str | None = None) -> None:
    """Raise Playwright's error if `url` must not be opened; what is no text is for Playwright to complain about."""
    if isinstance(url, str) and (reason := refusal(url, base)):
        raise PlaywrightError(reason)


def _scheme_of(url: str) -> str | None:
    found = _SCHEME.match(_cleaned(url))
    return found[1].lower() if found else None


def _cleaned(url: str) -> str:
    return url.lstrip(_SKIPPED_BEFORE).translate(_SKIPPED_ANYWHERE)
