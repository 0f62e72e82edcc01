"""Turn what user code returned into JSON text (docs/contract.md, section 3, rule 5)."""

from __future__ import annotations

import dataclasses
import inspect
import json
import math
import re
from collections.abc import Generator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from uuid import UUID

from .failures import ResultTooBigError, StructuralError

LIMIT = 2 * 1024 * 1024
"""Most bytes of ASCII-escaped JSON."""

DEPTH = 200
"""Most levels of lists and objects within each other: as many as a request may have, so that whoever reads it can."""

_LONGEST_KEY = 100
"""Most characters of a key in the path to what has no JSON form."""

_TEXT_OR_BRACKET = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]')

_CURES: tuple[tuple[type[Any] | tuple[type[Any], ...], str], ...] = (
    ((datetime, date, time), "return .isoformat()"),
    (timedelta, "return .total_seconds()"),
    ((set, frozenset, Generator), "return list(…)"),
    ((bytes, bytearray), "return .decode() or base64 text"),
    (Enum, "return .value"),
    ((Decimal, UUID, PurePath), "return str(…)"),
)
"""What to return instead, by type."""


class NotJsonError(StructuralError):
    """The result has no JSON form, and would have none in another Attempt either."""


def to_json(value: Any, *, what: str = "Result", path: str = "result") -> str:
    """Return ASCII-escaped JSON of `value`; pydantic models are dumped by alias.

    Args:
        value: What user code returned.
        what: The value's name at the beginning of a sentence.
        path: The value's name at the beginning of a path.

    Raises:
        NotJsonError: The value is not JSON (an unknown type, NaN, Infinity, a cycle), or has more than `DEPTH` levels;
            its message has the path.
        ResultTooBigError: The JSON is larger than `LIMIT`.
    """
    try:
        text = json.dumps(value, default=_dump, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        try:
            message = _fault(value, path, ()) or f"{path} has no JSON form: {error}"
        except RecursionError:
            message = _too_deep(path)
        raise NotJsonError(message, name=type(error).__name__) from error
    if len(text) > LIMIT:
        raise ResultTooBigError(what, text, LIMIT)
    if is_too_deep(text):
        raise NotJsonError(_too_deep(path), name=RecursionError.__name__)
    return text


def is_too_deep(text: str) -> bool:
    """Tell whether JSON has more than `DEPTH` levels of lists and objects."""
    if text.count("[") + text.count("{") <= DEPTH:
        return False
    level = 0
    for found in _TEXT_OR_BRACKET.finditer(text):
        bracket = found[0]
        level += (bracket in "[{") - (bracket in "]}")
        if level > DEPTH:
            return True
    return False


def _too_deep(path: str) -> str:
    return f"{path} is nested too deeply: it may have {DEPTH} levels of lists and dictionaries"


def _dump(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json", by_alias=True)
    if _is_pydantic_url(value):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _is_pydantic_url(value: Any) -> bool:
    """Tell by its name whether the type is a URL of pydantic, which only the project's environment may have."""
    kind = cast("type[Any]", type(value))
    return kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"} and kind.__name__.endswith(("Url", "Dsn"))


def _fault(value: Any, path: str, around: tuple[int, ...]) -> str | None:
    """Return what of a value has no JSON form, by its path, and what to return instead; None if all of it has one.

    Args:
        value: The value.
        path: Where it lies, as `result.items[3]`.
        around: The identities of what it lies in.

    Raises:
        RecursionError: It is nested too deeply.
    """
    if isinstance(value, float) and not math.isfinite(value):
        return f"{path}: JSON has no {value}; return None"
    if value is None or isinstance(value, str | int | float):
        return None
    if id(value) in around:
        return f"{path}: it contains itself, which JSON cannot hold; leave it out"
    around = (*around, id(value))
    if isinstance(value, dict):
        for key, item in cast("dict[Any, Any]", value).items():
            if not (key is None or isinstance(key, str | int | float)):
                return f"{path}: a key of it is {_a(key)}; keys are text"
            if (fault := _fault(item, f"{path}{_step(key)}", around)) is not None:
                return fault
        return None
    if isinstance(value, list | tuple):
        items = enumerate(cast("list[Any]", value))
        return next((fault for at, item in items if (fault := _fault(item, f"{path}[{at}]", around))), None)
    try:
        dumped = _dump(value)
    except (TypeError, ValueError) as error:
        if inspect.isawaitable(value) or inspect.isasyncgen(value):
            return f"{path}: {_a(value)} has no JSON form; is an `await` missing?"
        cure = next((f"; {cure}" for kind, cure in _CURES if isinstance(value, kind)), "")
        own = "" if isinstance(error, TypeError) else f": {error}"
        return f"{path}: {_a(value)} has no JSON form{own}{cure}"
    return _fault(dumped, path, around)


def _step(key: Any) -> str:
    text = str(key)[:_LONGEST_KEY]
    return f".{text}" if text.isidentifier() else f"[{json.dumps(text, ensure_ascii=False)}]"


def _a(value: Any) -> str:
    """Return the value's type with its article."""
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"
