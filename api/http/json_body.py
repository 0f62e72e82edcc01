"""Reader of request bodies: their size is bounded while they arrive, and they must be JSON in the strict sense."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import from_json
from starlette.requests import Request

from schemas.errors import BadRequest, PayloadTooLarge
from schemas.rest.field_errors import field_error, path_of, validation_error

BODY_LIMIT = 1024 * 1024
"""Largest body in bytes, unless a route has another limit."""


async def read_json_object(request: Request, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """Read the request's body and return it as a JSON object.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes, whatever its content-length says.
        BadRequest: The body is not JSON, is not an object, or holds something that JSON parsers disagree on.
    """
    return parse_json_object(await read_body(request, limit))


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in `body`. Raises BadRequest as `parse_json` does, and if it is not an object."""
    value = parse_json(body)
    if not isinstance(value, dict):
        raise field_error("", "a JSON object", "The body must be a JSON object.")
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


async def read_body(request: Request, limit: int) -> bytes:
    """Read the request's body and return its bytes.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes, whatever its content-length says.
    """
    refuse_announced(request, limit)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise too_large(limit)
    return bytes(body)


def refuse_announced(request: Request, limit: int) -> None:
    """Raise PayloadTooLarge if the request announces a body of more than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isascii() and announced.isdigit() and len(announced) < 20 and int(announced) > limit:
        raise too_large(limit)


def parse_json(body: bytes, name: str = "The body") -> Any:
    """Return the JSON value in `body`, which errors call `name`.

    It is parsed twice, because the first parser lets some errors pass.

    The first parser refuses broken UTF-8, half surrogate pairs, NaN and Infinity, and more than 200 levels. The second
    refuses a name that occurs twice in one object (parsers disagree on which of the two values they take) and a number
    that is too big for a float.

    Raises:
        BadRequest: The body is refused; the error names the place in the text, or the field's path.
    """
    try:
        from_json(body, allow_inf_nan=False)
        hooks = _ParserHooks()
        value = json.loads(body.decode(), object_pairs_hook=hooks.object, parse_float=hooks.float)
    except ValueError as error:
        raise _invalid_json(error, name) from error
    if hooks.found_error:
        for path, item in _walk(value):
            if isinstance(item, _DuplicateName):
                name = path_of([*path, item.name])
                raise field_error(name, "each name once in an object", f"{name}: the name occurs twice in its object.")
            if isinstance(item, float) and math.isinf(item):
                raise field_error(path_of(path), "a number that a 64-bit float can hold")
    return value


class _DuplicateName(dict[str, Any]):
    """An object in which `name` occurs twice."""

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


def _walk(value: Any) -> Iterator[tuple[list[int | str], Any]]:
    stack: list[tuple[list[int | str], Any]] = [([], value)]
    while stack:
        path, item = stack.pop()
        yield path, item
        if isinstance(item, dict):
            stack.extend(([*path, name], inner) for name, inner in cast("dict[str, Any]", item).items())
        elif isinstance(item, list):
            stack.extend(([*path, index], inner) for index, inner in enumerate(cast("list[Any]", item)))


def _invalid_json(error: ValueError, name: str) -> BadRequest:
    # The parser's message names the rule that was broken and the place, and does not quote the text.
    why = str(error).replace("recursion limit exceeded", "more than 200 levels deep")
    return field_error("", "JSON as RFC 8259 has it, in UTF-8", f"{name} is not JSON: {why}.")


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body of more than `limit` bytes."""
    details = {"path": "", "expected": f"at most {limit} bytes"}
    hint = " Store large parameters elsewhere and send their URL." if limit == BODY_LIMIT else ""
    return PayloadTooLarge(
        f"The body has more than {limit} bytes ({limit // 1024 // 1024} MiB).{hint}",
        details={**details, "errors": [details]},
    )
