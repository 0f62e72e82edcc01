"""Reading what a form has sent."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.datastructures import ImmutableMultiDict
from starlette.requests import Request

from api.reading import read_body
from contract.errors import BadRequest

FORM_LIMIT = 4 * 1024 * 1024
"""Bytes of a form. Percent-encoding triples what a form holds, and what it holds may be a body of the API."""
_FIELDS = 1000


async def read_form(request: Request, limit: int = FORM_LIMIT) -> ImmutableMultiDict[str, str]:
    """The fields of a form.

    Raises:
        PayloadTooLarge: It has more than `limit` bytes.
        BadRequest: It is no form.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise BadRequest("Expected a form (application/x-www-form-urlencoded).")
    body = await read_body(request, limit)
    try:
        return ImmutableMultiDict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=_FIELDS))
    except ValueError as error:
        raise BadRequest("The form cannot be read.") from error
