"""The answers of tools, whose size is limited: clients refuse what is too large, and models cannot use it."""

from __future__ import annotations

import base64
import json
from typing import Any

from mcp_types import CallToolResult, ImageContent, TextContent

LARGEST = 1_000_000
"""Most bytes of what an answer holds, as it is sent. The official client reads 1 MiB of one at most."""


def size_as_sent(text: str) -> int:
    """Return how many bytes a text takes in an answer: it is sent in ASCII, where a character may take twelve."""
    return len(json.dumps(text))


def text_answer(text: str) -> CallToolResult:
    """Return an answer that is a text."""
    return CallToolResult(content=[_content(text)])


def json_answer(value: dict[str, Any]) -> CallToolResult:
    """Return an answer that is an object, both as data and as a text."""
    content = _content(json.dumps(value, ensure_ascii=False))
    return CallToolResult(content=[content], structured_content=json.loads(content.text))


def error_answer(message: str) -> CallToolResult:
    """Return an answer that says what is wrong, for the model to read."""
    return CallToolResult(content=[_content(message)], is_error=True)


def _content(text: str) -> TextContent:
    # What user code returned may hold half a surrogate pair, with which no client can read an answer.
    return TextContent(text=text.encode(errors="replace").decode())


def whole_text_answer(text: str, where: str) -> CallToolResult:
    """Return an answer that is a text, or an error that says where to find it if it is too large."""
    return _too_large(where) if size_as_sent(text) > LARGEST else text_answer(text)


def end_of_text_answer(text: str) -> CallToolResult:
    """Return an answer that is a text, or as many lines of its end as fit."""
    lines = text.splitlines(keepends=True)
    room = LARGEST
    first = len(lines)
    while first > 0 and (room := room - size_as_sent(lines[first - 1])) >= 0:
        first -= 1
    end = "".join(lines[first:])
    return text_answer(end if first == 0 else f"The text has {len(text)} characters. This is its end.\n{end}")


def image_answer(data: bytes, media_type: str, where: str) -> CallToolResult:
    """Return an answer that is a picture, or an error that says where to find it if it is too large."""
    text = base64.b64encode(data).decode()
    if len(text) > LARGEST:
        return _too_large(where)
    return CallToolResult(content=[ImageContent(data=text, mime_type=media_type)])


def _too_large(where: str) -> CallToolResult:
    return error_answer(f"This is too large for the answer of a tool. See {where}.")
