"""Log what happens in the browser while an Attempt runs: where pages go, what they print, and what fails."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Container, Sequence

from playwright.async_api import BrowserContext, ConsoleMessage, Download, Frame, Page, Request, WebError
from playwright.async_api import Error as PlaywrightError

from .addresses import sentence, shown
from .downloads import Downloads

MOST = 5_000
"""Most console messages, and most failed requests, that are logged of an Attempt.

After that, the events are no longer listened to, as each of them costs the automation time.
"""

_LEVELS = {"debug": "debug", "trace": "debug", "warning": "warning", "error": "error", "assert": "error"}
_CLOSED = re.compile("net::ERR_NETWORK_ACCESS_DENIED|connect EACCES")
"""What Chromium and Playwright say of an address that is closed by the rules of the Machine's own network."""
_LOOPBACK_REFUSED = re.compile(r"(ERR_CONNECTION_REFUSED at \w+://|ECONNREFUSED )(127\.|localhost\b|\[?::1\b)")
"""What they say where loopback is closed: it is the Machine's own then, and nothing listens there."""
_CLOSED_MEANS = (
    "The address is closed to Machines. In the worker's settings, CALLBOARD_BROWSER_ALLOW opens addresses, but not the"
    " ports of Callboard's own parts."
)
_MOST_NAMED = 5
"""Most files that a line names."""
_DOWNLOADED_WITHIN = 0.2
"""Seconds that downloads get to say how large they are, as an Attempt ends."""
_OWN = "callboard"
"""Source of what we say ourselves, such as where pages go."""
_ABORTED = "net::ERR_ABORTED"
"""Failure that mostly means that a page was left before it was loaded completely."""


class PageEvents:
    """Logger of the events in every context of an Attempt."""

    def __init__(self, say: Callable[[str, str, str], None], *, loopback_is_closed: bool = False) -> None:
        """Log by `say`, which is given the level, the source and the message of a line."""
        self._write = say
        self._tells_nothing = False
        self._loopback_is_closed = loopback_is_closed
        self._left = {"console": MOST, "requestfailed": MOST}
        self.refused = ""
        """Sentence about the last file that another client of the browser was refused in this Attempt, if any."""
        self.downloads: Downloads | None = None
        """Keeps what pages download; None: that is lost."""
        self._downloads: list[Download] = []
        self._counted_downloads = 0
        self._silent: Container[Page | None] = ()
        """Pages of which nothing is logged that their scripts print: a person types there."""

    def renew(
        self,
        downloads: Downloads | None = None,
        silent: Container[Page | None] = (),
        *,
        tells_nothing: bool = False,
    ) -> None:
        """Begin another Attempt, with all of its limits, what keeps its downloads, and pages that print nothing.

        With `tells_nothing`, nothing at all is logged of its pages.
        """
        self._silent = silent
        self._tells_nothing = tells_nothing
        self._left = dict.fromkeys(self._left, MOST)
        self.refused = ""
        self.downloads = downloads
        self._downloads = []
        self._counted_downloads = 0

    def _say(self, level: str, source: str, message: str) -> None:
        if not self._tells_nothing:
            self._write(level, source, message)

    def refused_file(self, url: str) -> None:
        """Note that another client of the browser has asked for a file, and was refused."""
        self.refused = sentence(url)
        self._say("warning", _OWN, self.refused)

    async def tell_lost(self, files: Sequence[tuple[str, int]] = ()) -> None:
        """Log which files are lost as the Attempt ends: these, by name and size in bytes, and what pages downloaded."""
        named = [f"{_printable(name)} ({size:,} bytes)" for name, size in files[:_MOST_NAMED]]
        some = self._downloads[: _MOST_NAMED - len(named)]
        named += await asyncio.gather(*map(_described, some))
        if not named:
            return
        more = len(files) + len(self._downloads) - len(named)
        listed = f"{', '.join(named)} … and {more} more" if more else ", ".join(named)
        self._say("info", _OWN, f"Not kept: {listed}. Files below output/ are kept, all others are deleted.")

    def reasons(self, message: str) -> list[str]:
        """Return sentences about the likely reasons for an error with this message."""
        reasons = [self.refused] if self.refused else []
        return [*reasons, _CLOSED_MEANS] if self._is_closed(message) else reasons

    def watch(self, context: BrowserContext) -> None:
        """Watch a context and its pages for as long as they exist."""

        def console(message: ConsoleMessage) -> None:
            if message.page in self._silent:
                return
            if self._counts("console", "console messages"):
                self._console(message)
            else:
                context.remove_listener("console", console)

        def failed(request: Request) -> None:
            if self._counts("requestfailed", "failed requests"):
                self._failed(request)
            else:
                context.remove_listener("requestfailed", failed)

        context.on("console", console)
        context.on("requestfailed", failed)
        context.on("weberror", self._error)
        context.on("page", self._watch_page)
        for page in context.pages:
            self._watch_page(page)

    def _watch_page(self, page: Page) -> None:
        """Watch a page."""
        page.on("framenavigated", self._navigated)
        page.on("crash", self._crashed)
        page.on("download", self._downloaded)

    def _is_closed(self, message: str) -> bool:
        """Tell whether this error says that an address is closed to Machines."""
        refused = self._loopback_is_closed and _LOOPBACK_REFUSED.search(message)
        return bool(refused or _CLOSED.search(message))

    def _counts(self, event: str, what: str) -> bool:
        """Count an event, and tell whether it may be logged."""
        self._left[event] -= 1
        if self._left[event] == -1:
            self._say("warning", _OWN, f"More than {MOST} {what}: no more of them are logged.")
        return self._left[event] >= 0

    def _console(self, message: ConsoleMessage) -> None:
        level = _LEVELS.get(message.type, "info")
        text = message.text
        if level in ("warning", "error") and (url := message.location.get("url")):
            text = f"{text} ({shown(url)}:{message.location.get('lineNumber', 0) + 1})"
        self._say(level, "console", text)

    def _error(self, web_error: WebError) -> None:
        if web_error.page in self._silent:
            return
        error = web_error.error
        self._say("error", "page", getattr(error, "stack", None) or str(error))

    def _failed(self, request: Request) -> None:
        reason = request.failure or "no reason was given"
        level = "debug" if reason == _ABORTED else "warning"
        means = f". {_CLOSED_MEANS}" if self._is_closed(f"{reason} at {request.url}") else ""
        self._say(level, "network", f"{request.method} {shown(request.url)} failed: {reason}{means}")

    def _navigated(self, frame: Frame) -> None:
        if frame.parent_frame is None and frame.url != "about:blank":
            self._say("info", _OWN, f"The page is at {shown(frame.url)}")

    def _downloaded(self, download: Download) -> None:
        self._counted_downloads += 1
        if self._counted_downloads > MOST:
            return
        if self.downloads is not None:
            self.downloads.keep(download)
        else:
            self._downloads.append(download)

    def _crashed(self, page: Page) -> None:
        self._say("error", "page", f"The page at {shown(page.url)} has crashed.")


async def _described(download: Download) -> str:
    """Return the name of a download, with its size if it is there."""
    name = _printable(download.suggested_filename)
    try:
        async with asyncio.timeout(_DOWNLOADED_WITHIN):
            size = os.lstat(await download.path()).st_size
    except (PlaywrightError, OSError):  # it has not ended, has failed, or its context is closed
        return f"{name} (a download)"
    return f"{name} (a download, {size:,} bytes)"


def _printable(name: str) -> str:
    return name if name.isprintable() else repr(name)
