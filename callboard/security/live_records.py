"""Records of a live view on their way between an api and a worker: what pages show, and what is done to them.

They pass through whatever lies between the two, so each is sealed with the key ring, for its view, its sequence and its
number. No header says who sends it: whoever can seal is one of us. A record that does not come after the last one of
its sequence is refused, so none counts twice, or in another place.
"""

from __future__ import annotations

import struct

from callboard.schemas.errors import ConfigurationError, SealError
from callboard.security.keyring import KeyRing

POLL = 5.0
"""Most seconds that a call waits for something new, so that it passes through any proxy."""
GONE = 8.0
"""Seconds without a call after which the other side is gone: a poll, and three seconds for the way."""
PICTURE_LIMIT = 2_000_000
"""Most bytes of a picture."""
RECORD_LIMIT = PICTURE_LIMIT + 1024
"""Most bytes of a record."""

PICTURES = "pictures"
"""The sequence of what pages show: each is a JPEG."""
ORDERS = "orders"
"""The sequence of what a worker is to do for a view: each is a `LiveOrder`."""
ANSWERS = "answers"
"""The sequence of what became of that: each is a `LiveAnswer`, or empty where a worker has nothing to say."""
STATES = "states"
"""The sequence of who has the browser, and what it asks: each is a `LiveState`."""
GREETING = "greeting"
"""One empty record, by which an api sees that a worker has a key of its ring."""
GREETED = "greeted"
"""One empty record, by which the worker sees that it has reached an api with a key of its own ring."""

_NUMBER = struct.Struct(">Q")
_KEY_ID_END = _NUMBER.size + 11


class LiveRecords:
    """Seals and opens the records of one view."""

    def __init__(self, ring: KeyRing, view: str) -> None:
        self._ring = ring
        self._view = view
        self._opened: dict[str, int] = {}
        """Number of the last record of each sequence that was opened."""

    def seal(self, data: bytes, sequence: str, number: int) -> bytes:
        """Return a record: its number in eight bytes, the id of a key in eleven, and what is sealed.

        Raises:
            ConfigurationError: There is no key to seal with.
        """
        key_id, sealed = self._ring.seal_payload(data, bound_to=self._owner(sequence, number))
        return _NUMBER.pack(number) + key_id.encode() + sealed

    def open(self, record: bytes, sequence: str) -> tuple[int, bytes]:
        """Return number and content of a record that comes after the last one of its sequence.

        Raises:
            SealError: It is none for this place, or does not come after the last one.
        """
        if len(record) < _KEY_ID_END:
            raise SealError("A record of a live view is too short.")
        (number,) = _NUMBER.unpack_from(record)
        key_id = record[_NUMBER.size : _KEY_ID_END].decode("ascii", "replace")
        if number <= self._opened.get(sequence, 0):
            raise SealError("A record of a live view came twice, or too late.")
        try:
            data = self._ring.open_payload(key_id, record[_KEY_ID_END:], bound_to=self._owner(sequence, number))
        except ConfigurationError as error:
            raise SealError("A record of a live view was sealed with a key that is not in the ring.") from error
        self._opened[sequence] = number
        return number, data

    def _owner(self, sequence: str, number: int) -> str:
        return f"live/{self._view}/{sequence}/{number}"
