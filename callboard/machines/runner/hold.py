"""A person's hold on the browser of one Attempt: user code's calls wait, and nothing records what is typed."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field

from playwright.async_api import BrowserContext, Dialog
from playwright.async_api import Error as PlaywrightError

from .browser import WarmBrowser
from .conversation import AttemptState
from .evidence import Evidence
from .relay import Relay
from .screencast import Screencast

_IS_ENDING = "The Attempt is about to end."
_BROUGHT = (
    "The project's hook has brought a browser context of its own. User code drives and traces that without Callboard,"
    " so it cannot be held."
)
_DISMISSED_WITHIN = 1.0
"""Seconds to dismiss the dialogs that a person has left open."""


@dataclass(eq=False)
class Hold:
    """The hold of whoever has the browser; see the module's docstring. Each message may come again."""

    relay: Relay
    evidence: Evidence
    live: Screencast
    browser: WarmBrowser
    state: AttemptState
    _turn: asyncio.Lock = field(default_factory=asyncio.Lock, init=False)
    _contexts: list[BrowserContext] = field(default_factory=list[BrowserContext], init=False)
    """Those of which dialogs are kept open, which Playwright dismisses if no client listens for them."""
    _dialogs: list[Dialog] = field(default_factory=list[Dialog], init=False)

    async def begin(self, *, calls: bool) -> str | None:
        """Hold the browser, and with `calls` also the calls of user code; or return why not, as a sentence.

        When this returns, nothing that is typed from now on is recorded.
        """
        async with self._turn:
            if self.state.brought:
                return _BROUGHT
            if self.state.is_ending:
                return _IS_ENDING
            if calls:
                self.relay.hold()
            else:
                self.relay.release()
            if not self.evidence.used.is_held:
                self._keep_dialogs()
                await self.evidence.pause()
                self.live.take()
            return None

    async def end(self) -> None:
        """Release all pressed keys and buttons, dismiss open dialogs, and have user code and the traces go on."""
        async with self._turn:
            if self.evidence.used.is_held:
                await self.live.release()
                await self._dismiss_dialogs()  # until then, its page answers nothing
                await self.evidence.resume()
            # Nothing is awaited between these two: a dialog is kept for a person, or user code hears of it.
            for context in self._contexts:
                context.remove_listener("dialog", self._note_dialog)
            self.relay.release()
            self._contexts = []
            await self._dismiss_dialogs()

    def _keep_dialogs(self) -> None:
        self._contexts = list(self.browser.contexts)
        for context in self._contexts:
            context.on("dialog", self._note_dialog)

    def _note_dialog(self, dialog: Dialog) -> None:
        self._dialogs.append(dialog)

    async def _dismiss_dialogs(self) -> None:
        dialogs, self._dialogs = self._dialogs, []
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DISMISSED_WITHIN):
                for dialog in dialogs:
                    with contextlib.suppress(PlaywrightError):  # it was answered, as nearly always
                        await dialog.dismiss()
