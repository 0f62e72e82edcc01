"""The parameters that logins are made from, and references in them to secrets that are kept elsewhere.

`{"$secret": "NAME"}` stands for an environment variable of the project, `{"$secret": "file:PATH"}` for a file of the
worker, `{"$secret": "vault:PATH#FIELD"}` for a value in a vault (docs/contract.md, section 7.3).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Annotated, Any, cast

from pydantic import AfterValidator

from callboard.schemas.rest.base import JsonObject, expected_error

_KEY = "$secret"
MOST_REFERENCES = 50
"""Most references in the parameters of one AuthSession."""

_PART = r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}"
_PATH = rf"{_PART}(?:/{_PART}){{0,15}}"
_REFERENCE = re.compile(rf"[A-Z_][A-Z0-9_]{{0,127}}|file:{_PATH}|vault:{_PATH}#{_PART}", re.ASCII)
_EXPECTED = (
    f'{{"{_KEY}": …}} with nothing beside it, and the name of an environment variable, file:PATH or vault:PATH#FIELD '
    "behind it"
)


def is_reference(text: str) -> bool:
    """Tell whether a text can stand behind `$secret`: whether its path, if it has one, leads down and nowhere else."""
    return _REFERENCE.fullmatch(text) is not None


def references_in(value: Any) -> Iterator[str]:
    """Yield the texts of all references in a JSON value, which is known to have no wrong ones."""
    match value:
        case dict():
            items = cast("dict[str, Any]", value)
            if _KEY in items:
                yield items[_KEY]
                return
            for item in items.values():
                yield from references_in(item)
        case list():
            for item in cast("list[Any]", value):
                yield from references_in(item)
        case _:
            pass


def with_references_replaced(value: Any, replace: Callable[[str], Any]) -> Any:
    """Return a JSON value with what `replace` returns in place of each reference."""
    match value:
        case dict():
            items = cast("dict[str, Any]", value)
            if _KEY in items:
                return replace(items[_KEY])
            return {name: with_references_replaced(item, replace) for name, item in items.items()}
        case list():
            return [with_references_replaced(item, replace) for item in cast("list[Any]", value)]
        case _:
            return value


def _check(parameters: dict[str, Any]) -> dict[str, Any]:
    count = 0
    pending: list[Any] = [parameters]
    while pending:
        value = pending.pop()
        if isinstance(value, list):
            pending.extend(cast("list[Any]", value))
        elif isinstance(value, dict):
            items = cast("dict[str, Any]", value)
            if _KEY in items:
                reference, count = items[_KEY], count + 1
                is_wrong = not isinstance(reference, str) or not is_reference(reference)
                if is_wrong or len(items) > 1 or value is parameters:
                    raise expected_error(_EXPECTED)
            pending.extend(items.values())
    if count > MOST_REFERENCES:
        raise expected_error(f"at most {MOST_REFERENCES} references to secrets")
    return parameters


LoginParameters = Annotated[JsonObject, AfterValidator(_check)]
