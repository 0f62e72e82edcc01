"""Reader of request bodies: their size is bounded while they arrive."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request

from callboard.schemas.errors import PayloadTooLarge
from callboard.schemas.rest.json_text import parse_json_object

BODY_LIMIT = 1024 * 1024
"""Largest body in bytes, unless a route has another limit."""


async def read_json_object(request: Request, limit: int = BODY_LIMIT) -> dict[str, Any]:
    """Read the request's body and return it as a JSON object.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes, whatever its content-length says, or too many values.
        BadRequest: The body is not JSON, is not an object, or holds something that JSON parsers disagree on.
    """
    return parse_json_object(await read_body(request, limit))


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


def too_large(limit: int) -> PayloadTooLarge:
    """Return the error for a body of more than `limit` bytes."""
    details = {"path": "", "expected": f"at most {limit} bytes"}
    hint = " Store large parameters elsewhere and send their URL." if limit == BODY_LIMIT else ""
    return PayloadTooLarge(
        f"The body has more than {limit} bytes ({limit // 1024 // 1024} MiB).{hint}",
        details={**details, "errors": [details]},
    )
