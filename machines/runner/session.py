"""What an Attempt gets of the browser: the Machine's own tab, or what the project's hook brings instead."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page

from .browser import Tab, close_context
from .hook import Cleanup, has_hook, setup_context


class BrowserSession:
    """Opened once, before the automation is called, or when a deferred one asks for it."""

    def __init__(self, tab: Tab, root: Path, cdp_url: str | None, function_path: str, parameters: Any) -> None:
        self._tab = tab
        self._root = root
        self._cdp_url = cdp_url
        self._function_path = function_path
        self._parameters = parameters
        self._opening: asyncio.Task[tuple[BrowserContext, Page]] | None = None
        self._cleanup: Cleanup | None = None
        self._foreign: BrowserContext | None = None

    async def open(self) -> tuple[BrowserContext, Page]:
        """The context and page to work with. The hook runs now; a second call gives the same.

        Raises:
            UserCodeError: What `hook.setup_context` says; other exceptions are the hook's own.
        """
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await self._opening

    @property
    def opened(self) -> bool:
        """Whether it was opened: a deferred automation may never ask for it."""
        return self._opening is not None

    @property
    def proxy_refused(self) -> bool:
        """Whether the Attempt's proxy wanted other credentials than it was given."""
        return self._tab.proxy_refused

    async def finish(self) -> None:
        """Call the hook's cleanup. What it raises is user code's."""
        cleanup, self._cleanup = self._cleanup, None
        if cleanup is not None:
            await cleanup()

    async def close(self) -> bool:
        """Close the tab, and a context that the hook brought; False if one would not close in time."""
        foreign, self._foreign = self._foreign, None
        closed = await close_context(foreign) if foreign is not None else True
        return await self._tab.close() and closed

    async def _open(self) -> tuple[BrowserContext, Page]:
        if self._cdp_url is None or not has_hook(self._root):
            return self._tab.context, self._tab.page
        brought = await setup_context(
            self._root, api_name=self._function_path, api_parameters=self._parameters, cdp_url=self._cdp_url
        )
        self._cleanup = brought.cleanup
        if brought.context is None:
            return self._tab.context, self._tab.page
        if brought.context is not self._tab.context:
            self._foreign = brought.context  # from here on ours to close
        page = brought.page or next(iter(brought.context.pages), None) or await brought.context.new_page()
        return brought.context, page
