"""Hands on the browser of an Attempt: who takes it, and what is done to its page (docs/contract.md, section 13.10)."""

from __future__ import annotations

import binascii
from base64 import b64decode
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, FailFast, Field

from callboard.schemas.rest.base import RequestModel, ResponseModel, at_most, expected_error, expects
from callboard.schemas.rest.handoffs import check_text

EVENTS_LIMIT = 200
"""Most events of a call."""
TEXT_LIMIT = 4096
"""Most characters of a text."""
PASTE_LIMIT = 16_384
"""Most characters of a text that is pasted."""

FILES_LIMIT = 10
"""Most files of a choice."""
FILE_BYTES_LIMIT = 8 * 1024 * 1024
"""Most bytes of them together."""
INPUT_LIMIT = FILE_BYTES_LIMIT * 4 // 3 + 64 * 1024
"""Most bytes of a call: the files in base64, and the rest."""

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


_Id = Annotated[int, Field(ge=1, lt=2**31), expects("the id of what the page asks")]


class SelectEvent(RequestModel):
    """A choice in a list that the page has opened."""

    kind: Literal["select"]
    id: _Id
    index: (
        Annotated[int, Field(ge=0, lt=2**31), expects("the index of an option, or null to close the list")] | None
    ) = Field(repr=False)


class DateEvent(RequestModel):
    """A value for a field of a date, a time or a colour."""

    kind: Literal["date"]
    id: _Id
    value: (
        Annotated[str, Field(max_length=64, pattern=r"^[-0-9A-Za-z:.#]*$"), expects("a value as the field has it")]
        | None
    ) = Field(repr=False)


class FileBody(RequestModel):
    """A file that is uploaded. It is never one of the worker's, or of the api's."""

    name: Annotated[
        str,
        Field(min_length=1, max_length=255, pattern=r"^[^/\\]+$"),
        AfterValidator(check_text),
        expects("a name of 1 to 255 characters, without a folder"),
    ] = Field(repr=False)
    type: Annotated[
        str, Field(max_length=255, pattern=r"^[!-~]*$"), expects("the type of its content, such as application/pdf")
    ] = ""
    content: str = Field(repr=False)
    """In base64."""


def _check_files(files: list[FileBody]) -> list[FileBody]:
    size = 0
    for file in files:
        try:
            size += len(b64decode(file.content, validate=True))
        except (binascii.Error, ValueError):
            raise expected_error("the content of each file in base64") from None
    if size > FILE_BYTES_LIMIT:
        raise expected_error(f"at most {FILE_BYTES_LIMIT // 1024 // 1024} MiB of files together")
    return files


class FilesEvent(RequestModel):
    """The files for which the page has asked."""

    kind: Literal["files"]
    id: _Id
    files: Annotated[list[FileBody], FailFast(), at_most(FILES_LIMIT, "files"), AfterValidator(_check_files)] | None = (
        Field(repr=False)
    )


class DialogEvent(RequestModel):
    """The answer to a dialog."""

    kind: Literal["dialog"]
    id: _Id
    accept: bool
    text: Annotated[
        str,
        Field(max_length=TEXT_LIMIT),
        AfterValidator(check_text),
        expects(f"a text of at most {TEXT_LIMIT} characters"),
    ] = Field(default="", repr=False)


class ControlRequest(RequestModel):
    """Whether to take the browser, or to give it back."""

    action: Annotated[Literal["take", "give"], expects("take or give")]


class InputRequest(RequestModel):
    """What is done to the page, one after the other. Without any event, the lease is renewed."""

    events: Annotated[
        list[
            Annotated[
                MouseEvent | KeyEvent | TextEvent | PasteEvent | SelectEvent | DateEvent | FilesEvent | DialogEvent,
                Discriminator("kind"),
            ]
        ],
        FailFast(),
        at_most(EVENTS_LIMIT, "events"),
    ]

    def to_json(self) -> list[dict[str, Any]]:
        """Return the events with all their fields, for the Machine."""
        return [event.model_dump(by_alias=True) for event in self.events]


class AskedOption(ResponseModel):
    """An option of a list."""

    label: str
    group: str | None = None
    disabled: bool = False
    selected: bool = False


class AskedSelect(ResponseModel):
    """A list that the page has opened."""

    kind: Literal["select"]
    id: int
    label: str
    options: list[AskedOption]


class AskedDate(ResponseModel):
    """A field of a date, a time or a colour that has the focus."""

    kind: Literal["date"]
    id: int
    label: str
    type: Literal["date", "time", "datetime-local", "month", "week", "color"]
    value: str
    min: str
    max: str
    step: str


class AskedFiles(ResponseModel):
    """A page that asks for files."""

    kind: Literal["files"]
    id: int
    multiple: bool
    accept: str


class AskedDialog(ResponseModel):
    """A dialog of the page, which waits meanwhile."""

    kind: Literal["dialog"]
    id: int
    type: Literal["alert", "confirm", "prompt", "beforeunload"]
    message: str
    default: str


Asked = Annotated[AskedSelect | AskedDate | AskedFiles | AskedDialog, Discriminator("kind")]
"""What the browser asks that no picture shows. There is one at a time."""


class LiveStateBody(ResponseModel):
    """Who has the browser of an Attempt, and what it asks."""

    number: int
    """It grows with each change."""
    holder: str | None
    """The name of who has it."""
    is_yours: bool
    """Whether that is who has sent the request."""
    asks: Asked | None = Field(repr=False)
    """What is asked of the holder, as long as there is one."""
