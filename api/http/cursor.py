"""The values of `cursor` and `nextCursor`: a place in one list, in a form that is opaque to clients."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from schemas.errors import BadRequest
from schemas.rest.problems import bad_field

_DIGEST = 8
"""Bytes of the digest that tells a cursor of this list from those of other lists and from truncated ones."""


def cursor_of(place: bytes, of: str) -> str:
    """Return the cursor of a place in the list `of`."""
    return urlsafe_b64encode(_digest(place, of) + place).rstrip(b"=").decode("ascii")


def place_of(cursor: str, of: str) -> bytes:
    """Return the place that a cursor of the list `of` stands for.

    Raises:
        BadRequest: It is not a cursor, or it belongs to another list.
    """
    try:
        raw = urlsafe_b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4))
    except ValueError as error:
        raise _bad() from error
    digest, place = raw[:_DIGEST], raw[_DIGEST:]
    if digest != _digest(place, of):
        raise _bad()
    return place


def _digest(place: bytes, of: str) -> bytes:
    return hashlib.sha256(of.encode() + b"\0" + place).digest()[:_DIGEST]


def _bad() -> BadRequest:
    return bad_field("cursor", "the nextCursor of a page of this list, with the same filters")
