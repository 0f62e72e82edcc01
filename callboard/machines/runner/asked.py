"""What a page asks that no picture shows: an opened list, a date, files, a dialog (docs/contract.md, section 13.10).

Dialogs and choosers of files come to Playwright's client as soon as one listens for them, and wait for its answer. So
the supervisor listens only while a person has the browser.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from base64 import b64decode
from collections.abc import Awaitable, Callable
from typing import Any, cast

from playwright.async_api import Dialog, ElementHandle, FileChooser, FilePayload, Page
from playwright.async_api import Error as PlaywrightError

_LOOKED_WITHIN = 1.0
"""Most seconds to look for what has the focus. A page that is busy does not say it."""
_FRAMES = 10
"""How many frames inside of each other are looked into."""
_FOCUSED = """
() => {
  let found = document.activeElement;
  while (found?.shadowRoot?.activeElement) found = found.shadowRoot.activeElement;
  return found;
}
"""
_ASKS = """
element => {
  const label = (element.labels?.[0]?.innerText || element.ariaLabel || element.name || "").trim().slice(0, 200);
  if (element.localName === "iframe") return {kind: "frame"};
  if (element.localName === "select" && element.matches(":open") && !element.multiple && element.size < 2) {
    const options = [...element.options].slice(0, 1000).map((option) => {
      const group = option.closest("optgroup"), isHidden = getComputedStyle(option).display === "none";
      return {
        label: (option.label || option.text).slice(0, 200),
        group: group ? group.label.slice(0, 200) : null,
        disabled: option.disabled || Boolean(group?.disabled) || isHidden,
        selected: option.selected,
      };
    });
    return {kind: "select", label, options};
  }
  const isOfTime = ["date", "time", "datetime-local", "month", "week", "color"].includes(element.type);
  if (element.localName === "input" && isOfTime && !element.readOnly && !element.disabled) {
    const {type, value, min, max, step} = element;
    return {kind: "date", label, type, value, min, max, step};
  }
  return null;
}
"""
_ids = itertools.count(1)


class NotAskedError(Exception):
    """The page does not ask this, or not any more."""


class Asked:
    """What one page asks its person. It is told as it changes; there is one thing at a time."""

    def __init__(self, page: Page, tell: Callable[[dict[str, Any] | None], None]) -> None:
        """Prepare, without listening yet.

        Args:
            page: The page that a person sees.
            tell: Called with what is asked now; None: nothing.
        """
        self._page = page
        self._tell = tell
        self._asks: dict[str, Any] | None = None
        self._of: Dialog | FileChooser | ElementHandle | None = None
        """What the answer goes to."""
        self._dialog_opened = asyncio.Event()
        self._is_listening = False

    def begin(self) -> None:
        """Listen for what is asked from now on."""
        if not self._is_listening:
            self._page.context.on("dialog", self._on_dialog)
            self._page.on("filechooser", self._on_files)
            self._is_listening = True

    async def end(self, press: Callable[[str], Awaitable[None]]) -> None:
        """Listen no more, and close what is open. `press` presses a key. Raises PlaywrightError."""
        if self._is_listening:
            self._page.context.remove_listener("dialog", self._on_dialog)
            self._page.remove_listener("filechooser", self._on_files)
            self._is_listening = False
        if self._asks is not None:
            await self._leave(press)

    @property
    def has_dialog(self) -> bool:
        """Whether the page waits for the answer to a dialog, and takes nothing else."""
        return isinstance(self._of, Dialog)

    async def dialog(self) -> None:
        """Wait until a dialog opens, which holds up whatever has opened it."""
        await self._dialog_opened.wait()

    async def look(self) -> None:
        """Look whether what has the focus asks for something that no picture shows, after a press of mouse or key."""
        asks, element = None, None
        with contextlib.suppress(PlaywrightError, TimeoutError):
            async with asyncio.timeout(_LOOKED_WITHIN):
                asks, element = await self._focused()
        is_modal = isinstance(self._of, Dialog | FileChooser)  # perhaps only since the look has begun
        is_known = self._asks is not None and asks is not None and self._asks == {**asks, "id": self._asks["id"]}
        if not is_modal and not is_known:
            self._note(asks, element)

    async def answer(self, event: dict[str, Any], press: Callable[[str], Awaitable[None]]) -> None:
        """Give the page what a person has chosen.

        Args:
            event: It has the id of what was asked (docs/contract.md, section 13.10).
            press: Presses a key.

        Raises:
            NotAskedError: The page does not ask that, or not any more.
            PlaywrightError: The page does not take it.
        """
        asks, of = self._asks, self._of
        if asks is None or (asks["kind"], asks["id"]) != (event["kind"], event["id"]):
            raise NotAskedError
        if isinstance(of, Dialog):
            self._note(None)  # it may open the next one
            await (of.accept(event["text"]) if event["accept"] else of.dismiss())
        elif isinstance(of, FileChooser):
            self._note(None)
            if event["files"] is not None:
                await of.set_files([_payload(each) for each in event["files"]])
        elif event["kind"] == "select":
            if event["index"] is None:
                await self._leave(press)
            else:
                await self._choose(asks["options"], event["index"], press)
        elif isinstance(of, ElementHandle):
            self._note(None)
            if event["value"] is not None:
                await of.fill(event["value"])

    async def _choose(self, options: list[dict[str, Any]], index: int, press: Callable[[str], Awaitable[None]]) -> None:
        """Choose an option of the opened list as a person does by keys, so that the page sees a person's events."""
        if index >= len(options) or options[index]["disabled"]:
            raise NotAskedError
        self._note(None)
        await press("Home")
        for option in options[:index]:
            if not option["disabled"]:
                await press("ArrowDown")
        await press("Enter")

    async def _leave(self, press: Callable[[str], Awaitable[None]]) -> None:
        asks, of = self._asks, self._of
        self._note(None)
        if isinstance(of, Dialog):
            await of.dismiss()
        elif asks is not None and asks["kind"] == "select":
            await press("Escape")

    async def _focused(self) -> tuple[dict[str, Any] | None, ElementHandle | None]:
        """Return what the focused element asks, in whichever frame it is."""
        frame = self._page.main_frame
        for _ in range(_FRAMES):
            element = (await frame.evaluate_handle(_FOCUSED)).as_element()
            if element is None:
                break
            asks = await element.evaluate(_ASKS)
            # Scripts of the page may have a say in it.
            asks = cast("dict[str, Any]", asks) if isinstance(asks, dict) else {}
            if asks.get("kind") in ("select", "date"):
                return asks, element
            if asks.get("kind") != "frame":
                break
            inner = await element.content_frame()
            if inner is None:
                break
            frame = inner
        return None, None

    async def _on_dialog(self, dialog: Dialog) -> None:
        told = {"type": dialog.type, "message": dialog.message[:2000], "default": dialog.default_value[:4096]}
        self._note({"kind": "dialog", **told}, dialog)

    async def _on_files(self, chooser: FileChooser) -> None:
        accept = None
        with contextlib.suppress(PlaywrightError):
            accept = await chooser.element.get_attribute("accept")
        told = {"multiple": chooser.is_multiple(), "accept": (accept or "")[:1000]}
        if not self.has_dialog:
            self._note({"kind": "files", **told}, chooser)

    def _note(self, asks: dict[str, Any] | None, of: Dialog | FileChooser | ElementHandle | None = None) -> None:
        if asks is None and self._asks is None:
            return
        self._asks, self._of = None if asks is None else {**asks, "id": next(_ids)}, of
        if self.has_dialog:
            self._dialog_opened.set()
        else:
            self._dialog_opened.clear()
        self._tell(self._asks)


def _payload(file: dict[str, Any]) -> FilePayload:
    mime_type = file["type"] or "application/octet-stream"
    return {"name": file["name"], "mimeType": mime_type, "buffer": b64decode(file["content"])}
