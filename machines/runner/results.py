"""Turn what user code returned into JSON text (docs/contract.md, section 3, rule 5)."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, cast

from .failures import ResultTooBigError, UserCodeError

LIMIT = 2 * 1024 * 1024
"""Most bytes of ASCII-escaped JSON."""


def to_json(value: Any, *, what: str = "Result") -> str:
    """Return ASCII-escaped JSON of `value`; pydantic models are dumped by alias.

    Raises:
        UserCodeError: The value is not JSON (an unknown type, NaN, Infinity, a cycle).
        ResultTooBigError: The JSON is larger than `LIMIT`.
    """
    try:
        text = json.dumps(value, default=_dump, allow_nan=False, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserCodeError(f"{what} is not JSON serializable: {error}", name=type(error).__name__) from error
    if len(text) > LIMIT:
        raise ResultTooBigError(what, len(text), LIMIT)
    return text


def _dump(value: Any) -> Any:
    if callable(dump := getattr(value, "model_dump", None)):
        return dump(mode="json", by_alias=True)
    if _is_pydantic_url(value):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    raise TypeError(f"a value of type {type(value).__name__} has no JSON form")


def _is_pydantic_url(value: Any) -> bool:
    """Tell by its name whether the type is a URL of pydantic, which only the project's environment may have."""
    kind = cast("type[Any]", type(value))
    return kind.__module__.partition(".")[0] in {"pydantic", "pydantic_core"} and kind.__name__.endswith(("Url", "Dsn"))
