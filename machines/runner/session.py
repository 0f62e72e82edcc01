"""The context and page that an Attempt gets: the Machine's own tab, or what the project's hook brings instead."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .browser import Tab, ask, close_context
from .capturing import capture
from .evidence import Evidence
from .hook import Cleanup, clean_up, has_hook, setup_context
from .restoring import restore
from .state import State, StateError

CAPTURE_WITHIN = 5.0
"""Seconds that capturing the state may take. A busy page answers in that time if it ever does."""


class BrowserSession:
    """The context and page of one Attempt.

    It is opened once, before the automation is called, or when a deferred automation asks for it.
    """

    def __init__(
        self,
        tab: Tab,
        root: Path,
        cdp_url: str | None,
        function_path: str,
        parameters: Any,
        state: State | None = None,
        evidence: Evidence | None = None,
        watch: Callable[[BrowserContext], None] | None = None,
    ) -> None:
        self.state = state
        """The state that is restored when the session is opened."""
        self.lasting = False
        """Whether the hook brought a context that the browser keeps for as long as it runs."""
        self._watch = watch
        """Is called with a context that the hook brings."""
        self._tab = tab
        self._evidence = evidence or Evidence()
        self._root = root
        self._cdp_url = cdp_url
        self._function_path = function_path
        self._parameters = parameters
        self._opening: asyncio.Task[tuple[BrowserContext, Page]] | None = None
        self._cleanup: Cleanup | None = None
        self._foreign: BrowserContext | None = None
        self._home = tab.context
        """The context that the page belongs to, and so the one that has the login."""

    async def open(self) -> tuple[BrowserContext, Page]:
        """Run the hook and restore the state, once, and return the context and page to work with.

        Raises:
            UserCodeError: As for `hook.setup_context`; other exceptions are the hook's own.
            StateError: The state cannot be restored.
        """
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await self._opening

    @property
    def opened(self) -> bool:
        """Whether opening was begun: a deferred automation may never ask for it."""
        return self._opening is not None

    @property
    def restored(self) -> bool:
        """Whether it was opened completely. A context with only a part of its state tells nothing about the login."""
        opening = self._opening
        return opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None

    @property
    def proxy_refused(self) -> bool:
        """Whether the Attempt's proxy wanted other credentials than it was given."""
        return self._tab.proxy_refused

    async def capture(self) -> State:
        """Return the state as it is now. The context must be open, so the hook's cleanup comes later.

        Raises:
            StateError: The state cannot be captured. Its message is written to follow a colon.
        """
        try:
            async with asyncio.timeout(CAPTURE_WITHIN):
                return await capture(self._home, self.state)
        except TimeoutError as error:
            raise StateError(f"the browser did not tell it within {CAPTURE_WITHIN:g} seconds") from error
        except Exception as error:  # a client that the hook brought may have been ended in any way
            raise StateError(str(error) or type(error).__name__) from error

    async def finish(self, *, failed: bool = False) -> None:
        """Call the hook's cleanup, which may end the context. Its exceptions are those of user code."""
        cleanup, self._cleanup = self._cleanup, None
        if cleanup is not None:
            await (self._evidence.fail() if failed else self._evidence.save_traces())
            await clean_up(cleanup)

    async def close(self) -> bool:
        """Close the tab and a context that the hook brought; return False if one does not close in time."""
        foreign, self._foreign = self._foreign, None
        closed = await close_context(foreign) if foreign is not None else True
        return await self._tab.close() and closed

    async def _open(self) -> tuple[BrowserContext, Page]:
        context, page = await self._restored()
        # Begin the trace only now: to restore a state is no action of the automation.
        await self._evidence.begin(context, page)
        return context, page

    async def _restored(self) -> tuple[BrowserContext, Page]:
        if self._cdp_url is None or not has_hook(self._root):
            if self.state is not None:
                await restore(self._home, self.state, unused=self._tab.page)
            return self._tab.context, self._tab.page
        context, page = await self._bring(self._cdp_url)
        if self.state is not None:
            await restore(self._home, self.state)
        return context, page

    async def _bring(self, cdp_url: str) -> tuple[BrowserContext, Page]:
        """Run the hook, and return what it brings, or the tab if it brings nothing."""
        brought = await setup_context(
            self._root, api_name=self._function_path, api_parameters=self._parameters, cdp_url=cdp_url
        )
        self._cleanup = brought.cleanup
        if brought.context is None:
            return self._tab.context, self._tab.page
        if brought.context is not self._tab.context:
            self._foreign = brought.context  # we have to close it from now on
        page = brought.page or next(iter(brought.context.pages), None) or await brought.context.new_page()
        if self._foreign is not None and not await self._lives_in_tab(self._foreign, page):
            self._home = self._foreign
            if self._watch is not None:
                self._watch(self._foreign)
            browser = self._foreign.browser
            # Of the contexts that a client finds in a running browser, the first is the browser's own.
            self.lasting = browser is not None and self._foreign in browser.contexts[:1]
        return brought.context, page

    async def _lives_in_tab(self, context: BrowserContext, page: Page) -> bool:
        """Tell whether the page belongs to the context of the Machine's own tab.

        Other clients see the pages of that context in the browser's own context.
        """
        try:
            return await _context_id(context, page) == await _context_id(self._tab.context, self._tab.page)
        except PlaywrightError:  # another kind of browser, or the tab's page is closed
            return False


async def _context_id(context: BrowserContext, page: Page) -> str:
    """Return the browser's own id of the context that a page belongs to."""
    session = await context.new_cdp_session(page)
    told = await ask(session, "Target.getTargetInfo")
    await session.detach()
    return told["targetInfo"]["browserContextId"]
