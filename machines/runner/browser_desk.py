"""What the relay of a process of user code asks about the browser: what is allowed, watched and traced."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

from playwright.async_api import Error as PlaywrightError
from playwright.async_api import ProxySettings

from .address_guard import refusal
from .browser import WarmBrowser
from .evidence import Evidence
from .playwright_wire import is_inside
from .watching import Watch

_OUTSIDE = (
    "Playwright's driver can write files in the automation's own folder only, and {path} is not there. Name an absolute"
    " path below the working folder, or below tempfile.gettempdir()."
)
"""Why the driver does not write elsewhere. It would be lost to the automation, as the driver has a box of its own; and
in the profile of the browser there, it would stay for later Attempts."""


class BrowserDesk:
    """What the relay of one process of user code asks, for the Attempt that the process gets."""

    def __init__(self, browser: WarmBrowser, watch: Watch, *, guarded: bool) -> None:
        self._browser = browser
        self._watch = watch
        self._guarded = guarded
        self.evidence = Evidence()
        self.proxy: ProxySettings | None = None
        """The Attempt's proxy, which every context goes through, also one that user code opens itself."""
        self.root: Path | None = None
        self.shared = False
        """Whether user code commands the browser by its own protocol."""

    def refusal(self, url: str) -> str | None:
        """Say why an address must not be opened; None if it may be opened."""
        return refusal(url) if self._guarded else None

    def refusal_of_files(self, method: str, params: dict[str, Any]) -> str | None:
        """Say why a call must not be made because of a file that the driver would write; None if it may be made."""
        root = self.root
        outside = [path for path in _written(method, params) if root and not is_inside(path, str(root.parent))]
        return _OUTSIDE.format(path=outside[0]) if outside else None

    def options_of_context(self, options: dict[str, Any]) -> dict[str, Any]:
        """Return the options with the Attempt's proxy, unless user code has named another."""
        return options if self.proxy is None or options.get("proxy") else {**options, "proxy": self.proxy}

    async def context_opened(self, guid: str) -> None:
        """Watch and trace a context that user code has opened, before user code has it."""
        with contextlib.suppress(PlaywrightError, TimeoutError):  # the browser is gone, which user code will notice
            if (context := await self._browser.context(guid)) is not None:
                self._watch.context(context)
                await self.evidence.also(context)

    async def context_closing(self, guid: str) -> None:
        """Save the trace of a context that user code closes."""
        await self.evidence.closing(guid)

    def shares_browser(self) -> None:
        """Take note that user code may open contexts by the browser's own protocol."""
        self._browser.shared = self.shared = True

    def stack(self, call: dict[str, Any]) -> None:
        """Add the stack of a call to the traces, with the frames of the project: their sources will be read."""
        if self.root is None or not self.evidence.traces:
            return
        inside = f"{self.root}/"
        frames = [frame for frame in call["stack"] if os.path.normpath(frame["file"]).startswith(inside)]
        if frames:
            self._browser.add_stack({"id": call["id"], "stack": frames})


def _written(method: str, params: dict[str, Any]) -> list[str]:
    """Return the paths in a call to the driver at which that would write."""
    named: list[Any] = []
    if method == "saveAs":
        named = [params.get("path")]
    elif method == "harStart":
        options: dict[str, Any] = params.get("options") or {}
        named = [options.get("harPath"), options.get("resourcesDir")]
    elif method == "newContext":
        video: dict[str, Any] = params.get("recordVideo") or {}
        named = [video.get("dir")]
    return [path for path in named if isinstance(path, str)]
