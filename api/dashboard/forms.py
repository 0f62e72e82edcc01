"""Reader of the fields that a form has sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from api.http.json_body import read_body
from schemas.errors import BadRequest

FORM_LIMIT = 4 * 1024 * 1024
"""Largest form in bytes. A form may hold a body of the API, and percent-encoding triples its size."""
_FIELDS = 1000


async def read_form(request: Request, limit: int = FORM_LIMIT) -> ImmutableMultiDict[str, str]:
    """Read the request's body and return the fields of a form.

    Raises:
        PayloadTooLarge: The body has more than `limit` bytes.
        BadRequest: The body is not a form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest("Expected a form (application/x-www-form-urlencoded).")
    body = await read_body(request, limit)
    try:
        return ImmutableMultiDict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:
        raise BadRequest("The form cannot be read.") from error
