"""`cursor` and `nextCursor` of lists: a place in one list, in a form that only we read."""

from __future__ import annotations

import hashlib
from base64 import urlsafe_b64decode, urlsafe_b64encode

from contract.errors import BadRequest
from contract.rest.problems import bad_field

_DIGEST = 8
"""Bytes that tell a cursor of this list from one of another, and from what somebody has cut off."""


def cursor_of(place: bytes, of: str) -> str:
    """The cursor of a place in the list `of`."""
    return urlsafe_b64encode(_digest(place, of) + place).rstrip(b"=").decode("ascii")


def place_of(cursor: str, of: str) -> bytes:
    """The place that a cursor of the list `of` stands for.

    Raises:
        BadRequest: It is none, or that of another list.
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
