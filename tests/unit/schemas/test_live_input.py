"""What a person may do to a page, as it is checked before anything is done."""

from typing import Any

import pytest

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.live import InputRequest

MOUSE = {"kind": "mouse", "type": "mousePressed", "x": 0.5, "y": 1, "button": "left"}
KEY = {"kind": "key", "type": "keyDown", "key": "a", "code": "KeyA"}


def test_events_are_passed_on_with_all_their_fields():
    given = [MOUSE, KEY, {"kind": "text", "text": "hello"}, {"kind": "paste", "text": "x" * 16_384}]
    mouse, key, *_ = validate_body(InputRequest, {"events": given}).to_json()
    assert mouse == {**MOUSE, "clickCount": 0, "deltaX": 0, "deltaY": 0, "modifiers": 0}
    assert key == {**KEY, "modifiers": 0}
    assert validate_body(InputRequest, {"events": [MOUSE] * 200})
    assert validate_body(InputRequest, {"events": []}).to_json() == []


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ([MOUSE] * 201, "an array of at most 200 events"),
        ([{**MOUSE, "x": 1.1}], "a part of the viewport, from 0 to 1"),
        ([{**MOUSE, "x": float("nan")}], "a part of the viewport, from 0 to 1"),
        ([{**MOUSE, "type": "mouseDragged"}], "mousePressed, mouseReleased, mouseMoved or mouseWheel"),
        ([{**MOUSE, "deltaY": 1e9}], "a number of pixels from -10000 to 10000"),
        ([{**KEY, "code": "Key A"}], "the code of a key, as KeyboardEvent.code has it"),
        ([{**KEY, "modifiers": 16}], "the sum of 1 (Alt), 2 (Ctrl), 4 (Meta) and 8 (Shift)"),
        ([{"kind": "text", "text": "x" * 4097}], "a text of 1 to 4096 characters"),
        ([{"kind": "text", "text": "\ud800"}], "a text of 1 to 4096 characters"),
        ([{"kind": "text", "text": "my secret", "more": 1}], ""),
        ([{"kind": "shell", "text": "my secret"}], ""),
    ],
)
def test_what_is_no_event_is_refused_without_being_repeated(wrong: Any, expected: str):
    with pytest.raises(BadRequest) as refused:
        validate_body(InputRequest, {"events": wrong})
    assert expected in str(refused.value.details)
    assert "secret" not in f"{refused.value.message}{refused.value.details}"
