"""Refuse to open addresses that lead into the machine itself, such as `file:///etc/passwd`.

An API often opens an address that its caller has sent. Chromium refuses such addresses to pages: links, scripts, frames
and redirects cannot lead to them. It opens them for whoever controls the browser, so that is where the guard stands:

- It guards this process's Playwright: all of its clients go through `Frame.goto`. This costs nothing.
- It guards the files themselves, if other programs may control the browser by its debugging port. There every request
  passes through Chromium's interception, which costs time, so this is only for browsers that have such a port.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any, cast

from callboard_runtime.addresses import refusal
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError


async def guard_browser(session: CDPSession, on_refused: Callable[[str], None]) -> None:
    """Refuse files in all of the browser that `session` is connected to, whoever opens them.

    `on_refused` is called with the URL of each refused file. To guard the scheme `file` is enough here:
    Chromium asks for the same file also under `view-source:`.
    """
    send: Any = cast("Any", session).send

    async def refuse(event: dict[str, Any]) -> None:
        on_refused(event["request"]["url"])
        with contextlib.suppress(PlaywrightError):  # the page and its request are gone
            await send("Fetch.failRequest", {"requestId": event["requestId"], "errorReason": "BlockedByClient"})

    session.on("Fetch.requestPaused", refuse)
    await send("Fetch.enable", {"patterns": [{"urlPattern": "file:*"}]})


def check(url: Any, base: str | None = None) -> None:
    """Raise Playwright's error if `url` must not be opened; Playwright itself complains about what is no text."""
    if isinstance(url, str) and (reason := refusal(url, base)):
        raise PlaywrightError(reason)
