"""Attributes of a Run: small values that user code leaves for its record (docs/contract.md, section 3.2)."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import datetime
from typing import cast

from .context import IntunedContext

AttributeValue = str | int | float | bool | datetime | list[str]

_KEY = re.compile(r"[a-zA-Z][a-zA-Z0-9_]{0,63}")
_HALF_A_CHARACTER = re.compile("[\ud800-\udfff]")
_MOST_KEYS = 64
_LONGEST_TEXT = 255
_MOST_ITEMS = 20
_MOST_BYTES = 16 * 1024


def set_attribute(key: str, value: AttributeValue) -> None:
    """Set an attribute of the Run; it is reported when the Attempt ends, whatever the outcome.

    Raises:
        ValueError: The key, the value or all attributes together are not within the limits.
    """
    checked = _checked(key, value)
    _check_together({**IntunedContext.current().attributes, key: checked}, key)
    IntunedContext.current().attributes[key] = checked


def delete_attribute(key: str) -> None:
    """Take an attribute back; one that is not set is no error."""
    IntunedContext.current().attributes.pop(key, None)


def check_attributes(attributes: Mapping[str, object]) -> None:
    """Raise ValueError unless all of these can be the attributes of a Run; AttributeError if they are no mapping."""
    key = ""
    for key, value in attributes.items():
        _checked(key, value)
    _check_together(attributes, key)


def _check_together(attributes: Mapping[str, object], last: str) -> None:
    if len(attributes) > _MOST_KEYS:
        raise ValueError(f"attribute {last!r}: a Run has at most {_MOST_KEYS} attributes")
    if (size := _size(attributes)) > _MOST_BYTES:
        raise ValueError(f"attribute {last!r}: all attributes together would be {size} bytes; at most {_MOST_BYTES}")


def _is_key(key: object) -> bool:
    return isinstance(key, str) and _KEY.fullmatch(key) is not None


def _fits(text: str) -> bool:
    """Half a surrogate pair does not: JSON in UTF-8, as which the record travels, cannot hold it."""
    return len(text) <= _LONGEST_TEXT and _HALF_A_CHARACTER.search(text) is None


def _checked(key: str, value: object) -> str | int | float | bool | list[str]:
    if not _is_key(key):
        raise ValueError(f"attribute {key!r}: a key is a letter and up to 63 letters, digits or underscores")
    match value:
        case bool() | int():
            return value
        case float() if math.isfinite(value):
            return value
        case str() if _fits(value):
            return value
        case datetime() if value.tzinfo is not None:
            return value.isoformat()
        case list():
            items = cast("list[object]", value)
            texts = [item for item in items if isinstance(item, str) and _fits(item)]
            if len(texts) == len(items) <= _MOST_ITEMS:
                return texts
        case _:
            pass
    raise ValueError(
        f"attribute {key!r}: a value is text of at most {_LONGEST_TEXT} whole characters, a whole or finite number, "
        f"a bool, a datetime with a time zone, or a list of at most {_MOST_ITEMS} such texts; not {value!r:.100}"
    )


def _size(attributes: Mapping[str, object]) -> int:
    return len(json.dumps(attributes, separators=(",", ":"), ensure_ascii=False).encode())
