"""Hands on the browser of an Attempt: who takes it, and what is done to its page (docs/contract.md, section 13.10)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, FailFast, Field

from callboard.schemas.rest.base import RequestModel, at_most, expects
from callboard.schemas.rest.handoffs import check_text

EVENTS_LIMIT = 200
"""Most events of a call."""
TEXT_LIMIT = 4096
"""Most characters of a text."""
PASTE_LIMIT = 16_384
"""Most characters of a text that is pasted."""

_Part = Annotated[float, Field(ge=0, le=1), expects("a part of the viewport, from 0 to 1")]
_Delta = Annotated[float, Field(ge=-10_000, le=10_000), expects("a number of pixels from -10000 to 10000")]
_Modifiers = Annotated[int, Field(ge=0, le=15), expects("the sum of 1 (Alt), 2 (Ctrl), 4 (Meta) and 8 (Shift)")]


class MouseEvent(RequestModel):
    """Something that the mouse does, by the words of the Chrome DevTools Protocol."""

    kind: Literal["mouse"]
    type: Annotated[
        Literal["mousePressed", "mouseReleased", "mouseMoved", "mouseWheel"],
        expects("mousePressed, mouseReleased, mouseMoved or mouseWheel"),
    ]
    x: _Part
    """From the left edge of the viewport."""
    y: _Part
    """From its upper edge."""
    button: Annotated[
        Literal["none", "left", "middle", "right", "back", "forward"],
        expects("none, left, middle, right, back or forward"),
    ] = "none"
    click_count: Annotated[int, Field(ge=0, le=3), expects("a whole number from 0 to 3")] = 0
    delta_x: _Delta = 0
    delta_y: _Delta = 0
    modifiers: _Modifiers = 0


class KeyEvent(RequestModel):
    """A key that goes down or up."""

    kind: Literal["key"]
    type: Annotated[Literal["keyDown", "keyUp"], expects("keyDown or keyUp")]
    key: Annotated[
        str,
        Field(min_length=1, max_length=32),
        AfterValidator(check_text),
        expects("the name of a key, as KeyboardEvent.key has it"),
    ] = Field(repr=False)
    code: Annotated[
        str,
        Field(max_length=32, pattern=r"^[A-Za-z0-9]*$"),
        expects("the code of a key, as KeyboardEvent.code has it"),
    ] = Field(default="", repr=False)
    modifiers: _Modifiers = 0


class TextEvent(RequestModel):
    """A text that is typed at once."""

    kind: Literal["text"]
    text: Annotated[
        str,
        Field(min_length=1, max_length=TEXT_LIMIT),
        AfterValidator(check_text),
        expects(f"a text of 1 to {TEXT_LIMIT} characters"),
    ] = Field(repr=False)


class PasteEvent(RequestModel):
    """A text that is pasted."""

    kind: Literal["paste"]
    text: Annotated[
        str,
        Field(min_length=1, max_length=PASTE_LIMIT),
        AfterValidator(check_text),
        expects(f"a text of 1 to {PASTE_LIMIT} characters"),
    ] = Field(repr=False)


class ControlRequest(RequestModel):
    """Whether to take the browser, or to give it back."""

    action: Annotated[Literal["take", "give"], expects("take or give")]


class InputRequest(RequestModel):
    """What is done to the page, one after the other. Without any event, the lease is renewed."""

    events: Annotated[
        list[Annotated[MouseEvent | KeyEvent | TextEvent | PasteEvent, Discriminator("kind")]],
        FailFast(),
        at_most(EVENTS_LIMIT, "events"),
    ]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the events with all their fields, for the Machine."""
        return [event.model_dump(by_alias=True) for event in self.events]
