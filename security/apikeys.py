"""The keys of callers."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence


class ApiKeys:
    """Several keys at once, so that they can be rotated. Holds digests only: no key can be printed from here."""

    def __init__(self, keys: Sequence[str]) -> None:
        self._digests = [_digest(key.encode()) for key in keys if key]

    def __bool__(self) -> bool:
        """Whether there is a key at all."""
        return bool(self._digests)

    def accepts(self, given: bytes) -> bool:
        """Whether `given`, the raw header value, is one of the keys.

        Every key is compared, each in constant time, so that the time taken tells neither how much of a key was
        right nor which one it was.
        """
        digest = _digest(given)
        matches = [hmac.compare_digest(digest, known) for known in self._digests]
        return any(matches)


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()
