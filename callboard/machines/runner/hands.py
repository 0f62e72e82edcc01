"""What a person does to a page: mouse, keys and text, as events that the page cannot tell from those of a person."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from callboard_runtime.cdp import send
from playwright.async_api import CDPSession
from playwright.async_api import Error as PlaywrightError

from .asked import Asked, NotAskedError

_WITHIN = 5.0
"""Most seconds that events may take. A page that is busy, or shows a dialog, takes none."""
_MODIFIERS = 0b0111
"""Alt, Ctrl and Meta: with one of these, a key types no text."""
_FROM_33 = ("PageUp", "PageDown", "End", "Home", "ArrowLeft", "ArrowUp", "ArrowRight", "ArrowDown")
_KEY_CODES = {
    **{key: code for code, key in enumerate(_FROM_33, 33)},
    **{f"F{number}": 111 + number for number in range(1, 13)},
    **dict(zip(("Backspace", "Tab", "Enter", "Shift", "Control", "Alt"), (8, 9, 13, 16, 17, 18), strict=True)),
    **dict(zip(("Escape", " ", "Insert", "Delete", "Meta"), (27, 32, 45, 46, 91), strict=True)),
}
"""Windows' codes of the keys that are no characters: pages and the browser itself go by them."""
_OPENING = {"Tab", "Enter", " ", "Escape", "ArrowUp", "ArrowDown", "F4"}
_TEXTS = {"Enter": "\r"}
_PASTE = """
(text => {
  const into = document.activeElement ?? document.body, clipboardData = new DataTransfer();
  clipboardData.setData("text/plain", text);
  return into.dispatchEvent(new ClipboardEvent("paste", {clipboardData, bubbles: true, cancelable: true}));
})
"""
"""Tells the page of a paste, and returns whether it leaves the text to the browser."""


class Hands:
    """The hands on one page."""

    def __init__(self, session: CDPSession, asked: Asked) -> None:
        self._session = session
        self._asked = asked
        self._buttons: dict[str, dict[str, Any]] = {}
        """Buttons of the mouse that are down, with where."""
        self._keys: dict[str, dict[str, Any]] = {}

    async def act(self, events: list[dict[str, Any]]) -> None:
        """Do one after the other (docs/contract.md, section 13.10).

        Raises:
            NotAskedError: The page does not ask what is answered.
            PlaywrightError, TimeoutError: The page is gone, or takes no event.
        """
        if self._asked.has_dialog and events[0]["kind"] != "dialog":
            raise NotAskedError
        doing = asyncio.create_task(self._do(events), name="hands")
        await asyncio.sleep(0)  # a dialog that is answered is forgotten then, and not taken for the next one
        dialog = asyncio.create_task(self._asked.dialog(), name="dialog")
        try:
            done, _ = await asyncio.wait({doing, dialog}, timeout=_WITHIN, return_when=asyncio.FIRST_COMPLETED)
            if doing in done:
                await doing
            elif not done:
                raise TimeoutError
        finally:
            doing.cancel()
            dialog.cancel()

    async def _do(self, events: list[dict[str, Any]]) -> None:
        size = dict[str, Any]()
        for event in events:
            match event["kind"]:
                case "mouse":
                    if not size:
                        metrics = await send(self._session, "Page.getLayoutMetrics")
                        size = metrics["cssLayoutViewport"]
                    await self._mouse(event, size)
                case "key":
                    await self._key(event)
                case "text":
                    await send(self._session, "Input.insertText", text=event["text"])
                case "paste":
                    await self._paste(event["text"])
                case _:
                    await self._asked.answer(event, self._press)
        if any(_may_open(event) for event in events):
            await self._asked.look()

    def take(self) -> None:
        """Begin to hear what the page asks."""
        self._asked.begin()

    async def release(self) -> None:
        """Release all pressed keys and buttons, and close open dialogs. Raises as `act` does."""
        buttons, self._buttons = self._buttons, {}
        keys, self._keys = self._keys, {}
        async with asyncio.timeout(_WITHIN):
            await self._asked.end(self._press)
            for button in buttons.values():
                await send(self._session, "Input.dispatchMouseEvent", **{**button, "type": "mouseReleased"})
            for key in keys.values():
                await send(self._session, "Input.dispatchKeyEvent", **{**key, "type": "keyUp"})

    async def _mouse(self, event: dict[str, Any], size: dict[str, Any]) -> None:
        told = {name: event[name] for name in ("type", "button", "clickCount", "modifiers")}
        told |= {"x": event["x"] * size["clientWidth"], "y": event["y"] * size["clientHeight"]}
        if event["type"] == "mouseWheel":
            told |= {"deltaX": event["deltaX"], "deltaY": event["deltaY"]}
        elif event["type"] == "mousePressed":
            self._buttons[event["button"]] = told
        elif event["type"] == "mouseReleased":
            self._buttons.pop(event["button"], None)
        await send(self._session, "Input.dispatchMouseEvent", **told)

    async def _key(self, event: dict[str, Any]) -> None:
        key, modifiers = event["key"], event["modifiers"]
        told: dict[str, Any] = {"key": key, "code": event["code"], "modifiers": modifiers}
        if (code := _KEY_CODES.get(key)) is None and len(key) == 1 and key.isascii() and key.isalnum():
            code = ord(key.upper())
        if code is not None:
            told["windowsVirtualKeyCode"] = code
        if event["type"] == "keyUp":
            self._keys.pop(key, None)
            await send(self._session, "Input.dispatchKeyEvent", type="keyUp", **told)
            return
        self._keys[key] = told
        text = _TEXTS.get(key, key if len(key) == 1 else "")
        if text and not modifiers & _MODIFIERS:
            await send(self._session, "Input.dispatchKeyEvent", type="keyDown", text=text, **told)
        else:
            await send(self._session, "Input.dispatchKeyEvent", type="rawKeyDown", **told)

    async def _press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            await self._key({"type": kind, "key": key, "code": key, "modifiers": 0})

    async def _paste(self, text: str) -> None:
        tree = await send(self._session, "Page.getFrameTree")
        frame = tree["frameTree"]["frame"]["id"]
        world = await send(self._session, "Page.createIsolatedWorld", frameId=frame, worldName="callboard")
        expression = f"{_PASTE}({json.dumps(text)})"
        told = await send(
            self._session,
            "Runtime.evaluate",
            expression=expression,
            contextId=world["executionContextId"],
            returnByValue=True,
        )
        if told["result"].get("value") is not False:
            await send(self._session, "Input.insertText", text=text)


def _may_open(event: dict[str, Any]) -> bool:
    """Tell whether an event may open or close what no picture shows, or move the focus."""
    return (event["kind"] == "mouse" and event["type"] == "mousePressed") or event.get("key") in _OPENING


ERRORS = (PlaywrightError, TimeoutError, NotAskedError)
"""What an event fails with."""
