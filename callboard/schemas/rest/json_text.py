"""JSON that somebody has sent: it must be JSON in the strict sense, and its size in memory is bounded."""

from __future__ import annotations

import json
import math
import re
from itertools import islice
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json

from callboard.schemas.errors import BadRequest, PayloadTooLarge
from callboard.schemas.rest.field_errors import field_error, path_of, validation_error

MAX_VALUES = 250_000
"""Most values in a text. To parse and check one takes a few microseconds and some hundred bytes at most, so all take
less than a second, during which a process does nothing else."""

_VALUE = re.compile(rb'(?:[^",\[{]++|"(?:[^"\\]++|\\.)*+"?)*+(?:[,\[{]|\Z)', re.DOTALL)
"""All up to the next comma or opening bracket that is not in a text, or up to the end. It matches from any place on and
never goes back, so that it takes bounded time, whether or not the body is JSON."""


def parse_json_object(body: bytes, name: str = "The body") -> dict[str, Any]:
    """Return the JSON object in `body`. Raises what `parse_json` raises, and BadRequest if it is not an object."""
    value = parse_json(body, name)
    if not isinstance(value, dict):
        raise field_error("", "a JSON object", f"{name} must be a JSON object.")
    return cast("dict[str, Any]", value)


def validate_body[M: BaseModel](model: type[M], body: dict[str, Any]) -> M:
    """Return the body as an instance of `model`.

    Raises:
        BadRequest: The body does not fit the model; the error names the path of every field that is wrong.
    """
    try:
        return model.model_validate(body)
    except ValidationError as error:
        raise validation_error(error, model) from error


def parse_json(body: bytes, name: str = "The body") -> Any:
    """Return the JSON value in `body`, which errors call `name`.

    It is parsed twice, because the first parser lets some errors pass.

    The first parser refuses broken UTF-8, half surrogate pairs, NaN and Infinity, and more than 200 levels. The second
    refuses a name that occurs twice in one object (parsers disagree on which of the two values they take) and a number
    that is too big for a float.

    Raises:
        PayloadTooLarge: It has more than `MAX_VALUES` values (docs/contract.md, section 5).
        BadRequest: The body is refused; the error names the place in the text, or the field's path.
    """
    if len(body) > MAX_VALUES and _has_too_many_values(body):
        expected = f"at most {MAX_VALUES} values"
        message = f"{name} has more than {MAX_VALUES:,} values: commas and opening brackets that are not in texts."
        raise PayloadTooLarge(
            message, details={"path": "", "expected": expected, "errors": [{"path": "", "expected": expected}]}
        )
    try:
        from_json(body, allow_inf_nan=False)
        hooks = _ParserHooks()
        value = json.loads(body.decode(), object_pairs_hook=hooks.object, parse_float=hooks.float)
    except ValueError as error:
        raise _invalid_json(error, name) from error
    if hooks.found_error and (found := _find_wrong(value)) is not None:
        path, item = found
        if isinstance(item, _DuplicateName):
            path = path_of([*path, item.name])
            raise field_error(path, "each name once in an object", f"{path}: the name occurs twice in its object.")
        raise field_error(path_of(path), "a number that a 64-bit float can hold")
    return value


def _has_too_many_values(body: bytes) -> bool:
    at_the_end = 2  # what comes behind the last value, and nothing
    return next(islice(_VALUE.finditer(body), MAX_VALUES + at_the_end, None), None) is not None


class _DuplicateName(dict[str, Any]):
    """An object in which `name` occurs twice."""

    __slots__ = ("name",)
    name: str


class _ParserHooks:
    """Parser hooks that note whether there is an error in the value; only then is its path looked up."""

    def __init__(self) -> None:
        self.found_error = False

    def object(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        plain = dict(pairs)
        if len(plain) == len(pairs):
            return plain
        self.found_error = True
        seen: set[str] = set()
        duplicate = _DuplicateName(plain)
        duplicate.name = next(name for name, _ in pairs if name in seen or seen.add(name))
        return duplicate

    def float(self, text: str) -> float:
        number = float(text)
        self.found_error = self.found_error or math.isinf(number)
        return number


def _find_wrong(value: Any) -> tuple[list[int | str], Any] | None:
    """Return something that the hooks have noted, with the path that leads there."""
    if isinstance(value, _DuplicateName) or (isinstance(value, float) and math.isinf(value)):
        return [], value
    inner: Any = ()
    if isinstance(value, dict):
        inner = cast("dict[str, Any]", value).items()
    elif isinstance(value, list):
        inner = enumerate(cast("list[Any]", value))
    for step, item in inner:
        if (found := _find_wrong(item)) is not None:
            return [step, *found[0]], found[1]
    return None


def _invalid_json(error: ValueError, name: str) -> BadRequest:
    # The parser's message names the rule that was broken and the place, and does not quote the text.
    why = str(error).replace("recursion limit exceeded", "more than 200 levels deep")
    return field_error("", "JSON as RFC 8259 has it, in UTF-8", f"{name} is not JSON: {why}.")
