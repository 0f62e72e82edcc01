"""The header Idempotency-Key of a request. `callboard/starts/identity.py` makes the id of a Run of it."""

from __future__ import annotations

import re
from typing import Any

from starlette.requests import Request

from callboard.schemas.rest.field_errors import field_error

_HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")

IDEMPOTENCY_DOCS: dict[str, Any] = {
    "parameters": [
        {
            "name": _HEADER,
            "in": "header",
            "required": False,
            "description": "The same key with the same request starts nothing anew; with another request, 409.",
            "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
        }
    ]
}
"""Addition to the OpenAPI description of a route whose request may carry an Idempotency-Key."""


def read_idempotency_key(request: Request) -> str | None:
    """Return the value of the request's Idempotency-Key header, or None if it was not sent.

    Raises:
        BadRequest: The value is not 1 to 255 visible ASCII characters, or the header was sent more than once.
    """
    values = request.headers.getlist(_HEADER)
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise field_error(_HEADER, "a header sent once, 1 to 255 visible ASCII characters")
    return values[0]
