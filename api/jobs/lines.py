"""A Job that is sent as lines (`application/x-ndjson`): all but its payload, and then an item on each line.

The lines are checked as they arrive, and none is kept: so a long payload takes no more memory than a short one.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request

from api.http.json_body import BODY_LIMIT, refuse_announced, too_large
from schemas.errors import BadRequest
from schemas.rest.field_errors import field_error
from schemas.rest.jobs import JobHead, PayloadItem
from schemas.rest.json_text import parse_json_object, validate_body

NDJSON = "application/x-ndjson"

ITEM_LIMIT = 256 * 1024
"""Largest item in bytes."""


@dataclass(frozen=True)
class JobLines[Head: JobHead]:
    """A Job whose first line was read."""

    head: Head
    _lines: AsyncIterator[tuple[int, bytes]]

    async def items(self, check: Callable[[PayloadItem, int], Awaitable[None]]) -> AsyncIterator[PayloadItem]:
        """Yield the items of the other lines.

        `check` is given each of them with its number, from 0, and raises BadRequest if it is wrong.

        Raises:
            BadRequest: A line is wrong; the error says which.
        """
        index = 0
        async for number, line in self._lines:
            try:
                item = validate_body(PayloadItem, parse_json_object(line, "The line"))
                await check(item, index)
            except BadRequest as error:
                raise _in_line(error, number) from error
            yield item
            index += 1


def is_ndjson(request: Request) -> bool:
    """Tell whether the body of a request is lines of JSON."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() == NDJSON


async def read_job_lines[Head: JobHead](request: Request, model: type[Head], limit: int) -> JobLines[Head]:
    """Return the Job that the request sends as lines, once its first line has come, which has to fit the model.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes.
        BadRequest: The first line is wrong.
    """
    refuse_announced(request, limit)
    lines = _split_lines(request, limit)
    async for number, line in lines:
        try:
            return JobLines(validate_body(model, parse_json_object(line, "The line")), lines)
        except BadRequest as error:
            raise _in_line(error, number) from error
    raise field_error("", "a line with the Job, and a line for each item of its payload", "The body is empty.")


async def _split_lines(request: Request, limit: int) -> AsyncGenerator[tuple[int, bytes]]:
    """Yield the lines that are not blank, with their numbers, from 1."""
    received, number, rest = 0, 0, b""
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise too_large(limit)
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            _check_length(line, number)
            if line.strip():
                yield number, line
        _check_length(rest, number + 1)
    if rest.strip():
        yield number + 1, rest


def _check_length(line: bytes, number: int) -> None:
    limit = BODY_LIMIT if number == 1 else ITEM_LIMIT
    if len(line) > limit:
        expected = f"lines of at most {limit} bytes"
        raise _in_line(field_error("", expected, f"The line has more than {limit} bytes."), number)


def _in_line(error: BadRequest, number: int) -> BadRequest:
    return type(error)(f"Line {number}: {error.message}", details={**(error.details or {}), "line": number})
