"""The context and page that user code gets: those of the supervisor, or what the project's hook brings instead.

What the hook brings belongs to a client of the browser that lives in the process of user code, and that the supervisor
does not know. So it is restored, traced and captured here, with the same code, and ends with this process.
"""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from callboard_runtime.cdp import send
from callboard_runtime.downloads import Downloads
from callboard_runtime.page_events import PageEvents
from callboard_runtime.project_code import Cleanup, clean_up, setup_context
from callboard_runtime.state import State, StateError, captured, restore
from playwright.async_api import BrowserContext, Page
from playwright.async_api import Error as PlaywrightError

from .channel import Channel
from .evidence import Evidence
from .folders import DOWNLOADS
from .playwright_wire import Attached

_DOWNLOADED_WITHIN = 5.0
"""Seconds that downloads get to end once the automation has."""


class BrowserSession:
    """The context and page of one Attempt.

    It is opened once, before the automation is called, or when a deferred automation asks for it.
    """

    def __init__(
        self, channel: Channel, attached: Attached, call: dict[str, Any], root: Path, page_events: PageEvents
    ) -> None:
        self._channel = channel
        self._attached = attached
        self._call = call
        self._root = root
        self._page_events = page_events
        self._hooked: dict[str, Any] | None = call["hooked"]
        """What the hook is given, and the state and evidence of a context that it brings; None without a hook."""
        self._opening: asyncio.Task[tuple[BrowserContext, Page]] | None = None
        self._cleanup: Cleanup | None = None
        self.evidence: Evidence | None = None
        """The evidence of a context that the hook brought; None if it brought none."""
        self._home: BrowserContext | None = None
        """The context that the hook brought, if the login lives in it."""
        self.lasting = False
        """Whether the hook brought a context that the browser keeps for as long as it runs."""

    async def open(self) -> tuple[BrowserContext, Page]:
        """Run the hook and have the state restored, once, and return the context and page to work with.

        Raises:
            UserCodeError: As for `setup_context`; other exceptions are the hook's own.
            StateError: The state cannot be restored.
        """
        if self._opening is None:
            self._opening = asyncio.ensure_future(self._open())
        return await self._opening

    @property
    def restored(self) -> bool:
        """Whether it was opened completely. A context with only a part of its state tells nothing about the login."""
        opening = self._opening
        return opening is not None and opening.done() and not opening.cancelled() and opening.exception() is None

    @property
    def has_login(self) -> bool:
        """Whether the login lives in a context that the hook brought, so that it is captured here."""
        return self._home is not None

    async def capture(self) -> tuple[State, str | None]:
        """Return the state of the context that the hook brought, and what it lacks; see `captured`.

        Raises:
            StateError: It cannot be captured.
        """
        if self._home is None or self._hooked is None:
            raise RuntimeError("the login is in no context of the hook")
        return await captured(self._home, self._hooked["state"], databases=self._call["indexedDb"])

    async def finish(self, *, failed: bool = False) -> None:
        """Log what its pages have downloaded, and call the hook's cleanup, which may end the context.

        Exceptions of the cleanup are those of user code.
        """
        if (downloads := self._page_events.downloads) is not None:
            await downloads.wait(_DOWNLOADED_WITHIN)
        await self._page_events.tell_lost()
        cleanup, self._cleanup = self._cleanup, None
        if cleanup is None:
            return
        if self.evidence is not None:
            await (self.evidence.fail() if failed else self.evidence.save_traces())
        if not failed and not self.has_login:
            await self._channel.ask("before-cleanup")  # the cleanup may end what the state is captured from
        await clean_up(cleanup)

    async def _open(self) -> tuple[BrowserContext, Page]:
        call, hooked = self._call, self._hooked
        guids = call["context"], call["page"]
        if hooked is None:
            _, own = await asyncio.gather(self._prepare(trace=True, unused=True), self._attached.page(*guids))
            return own
        brought = await setup_context(
            self._root,
            api_name=call["function"],
            api_parameters=json.loads(call["parameters"]),
            cdp_url=hooked["cdpUrl"],
        )
        self._cleanup = brought.cleanup
        own = await self._attached.page(*guids)
        if brought.context is None:
            await self._prepare(trace=True, unused=True)
            return own
        context = brought.context
        page = brought.page or next(iter(context.pages), None) or await context.new_page()
        if await _lives_in(own, context, page):
            await self._prepare(trace=False, unused=False)
        else:
            self._home = context
            wanted = hooked["evidence"]
            if wanted is not None and wanted["downloads"]:
                self._page_events.downloads = Downloads(Path(wanted["folder"], DOWNLOADS))
            self._page_events.watch(context)
            browser = context.browser
            # Of the contexts that a client finds in a running browser, the first is the browser's own.
            self.lasting = browser is not None and context in browser.contexts[:1]
            if hooked["state"] is not None:
                await restore(context, hooked["state"])
        self._channel.post("brought", lasting=self.lasting)
        # Begin the trace only now: to restore a state is no action of the automation.
        self.evidence = Evidence(hooked["evidence"], call["function"])
        await self.evidence.begin(context, page)
        return context, page

    async def _prepare(self, *, trace: bool, unused: bool) -> None:
        """Have the supervisor restore the state in the Machine's own context, and begin its trace.

        Raises:
            StateError: The state cannot be restored.
            PlaywrightError: The browser is gone.
        """
        answer = await self._channel.ask("open", trace=trace, unused=unused)
        if (error := answer.get("error")) is not None:
            raise (
                StateError(error["message"]) if error["kind"] == StateError.kind else PlaywrightError(error["message"])
            )
        if answer["traced"]:
            self._attached.send_stacks()


async def _lives_in(own: tuple[BrowserContext, Page], context: BrowserContext, page: Page) -> bool:
    """Tell whether the page of another client belongs to the Machine's own context.

    Other clients see the pages of that context in the browser's own context.
    """
    try:
        return await _context_id(context, page) == await _context_id(*own)
    except PlaywrightError:  # another kind of browser, or the Machine's own page is closed
        return False


async def _context_id(context: BrowserContext, page: Page) -> str:
    """Return the browser's own id of the context that a page belongs to."""
    session = await context.new_cdp_session(page)
    answer = await send(session, "Target.getTargetInfo")
    await session.detach()
    return answer["targetInfo"]["browserContextId"]
