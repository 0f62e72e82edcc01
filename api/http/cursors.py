"""Cursors of lists: where a page ended, in a form that fits no other list."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from callboard.schemas.errors import BadRequest
from callboard.schemas.rest.field_errors import field_error

_DIGEST_BYTES = 8
"""Bytes of the digest that tells a cursor of this list from those of other lists and from truncated ones."""


def encode_cursor(position: bytes, list_id: str) -> str:
    """Return the cursor of a place in the list `list_id`."""
    return urlsafe_b64encode(_digest(position, list_id) + position).rstrip(b"=").decode("ascii")


def decode_cursor(cursor: str, list_id: str) -> bytes:
    """Return the position that a cursor of the list `list_id` stands for.

    Raises:
        BadRequest: It is not a cursor, or it belongs to another list.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError as error:
        raise _invalid_cursor() from error
    digest, position = raw[:_DIGEST_BYTES], raw[_DIGEST_BYTES:]
    if digest != _digest(position, list_id):
        raise _invalid_cursor()
    return position


def _digest(position: bytes, list_id: str) -> bytes:
    return hashlib.sha256(list_id.encode() + b"\0" + position).digest()[:_DIGEST_BYTES]


def _invalid_cursor() -> BadRequest:
    return field_error("cursor", "the nextCursor of a page of this list, with the same filters")
