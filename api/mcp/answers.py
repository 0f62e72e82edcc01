"""The answers of tools, whose size is limited: clients refuse what is too large, and models cannot use it."""

from __future__ import annotations

import base64
import json
from typing import Any

from mcp_types import CallToolResult, ImageContent, TextContent

LARGEST_TEXT = 400_000
"""Most characters of a text. An answer may have it twice, and the official client reads 1 MiB of one at most."""
_LARGEST_IMAGE = 750_000
"""Most bytes of an image, which grows by a third on its way."""


def text_answer(text: str) -> CallToolResult:
    """Return an answer that is a text."""
    return CallToolResult(content=[TextContent(text=text)])


def json_answer(value: dict[str, Any]) -> CallToolResult:
    """Return an answer that is an object, both as data and as a text."""
    return CallToolResult(content=[TextContent(text=json.dumps(value, ensure_ascii=False))], structured_content=value)


def error_answer(message: str) -> CallToolResult:
    """Return an answer that says what is wrong, for the model to read."""
    return CallToolResult(content=[TextContent(text=message)], is_error=True)


def whole_text_answer(text: str, where: str) -> CallToolResult:
    """Return an answer that is a text, or an error that says where to find it if it is too large."""
    if len(text) <= LARGEST_TEXT:
        return text_answer(text)
    return error_answer(f"This has {len(text)} characters, too much for the answer of a tool. See {where}.")


def image_answer(data: bytes, where: str) -> CallToolResult:
    """Return an answer that is a PNG, or an error that says where to find it if it is too large."""
    if len(data) > _LARGEST_IMAGE:
        return error_answer(
            f"The image has {len(data)} bytes, which is too much for the answer of a tool. See {where}."
        )
    return CallToolResult(content=[ImageContent(data=base64.b64encode(data).decode(), mime_type="image/png")])
