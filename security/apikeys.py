"""Check the API keys of callers: those of the operator, which may do everything."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence

from schemas.errors import ConfigurationError
from schemas.rest.access import Scope
from security.caller import Caller

MIN_KEY_LENGTH = 20
"""Fewest characters of a key. A random key of this length cannot be guessed, however many guesses are made:
`token_urlsafe(15)` has 20 characters, and 120 bits."""


class ApiKeys:
    """The API keys; several are valid at once, so that they can be rotated.

    This holds digests only: no key can be printed from here.
    """

    def __init__(self, keys: Sequence[str]) -> None:
        """Take the keys as configured.

        Raises:
            ConfigurationError: There is no key, or one can be guessed.
        """
        if not any(keys):
            raise ConfigurationError(
                "CALLBOARD_API_KEYS is not set: nobody could call the API. Set it to one or more keys, comma-separated."
            )
        for position, key in enumerate(keys, start=1):
            if len(key) < MIN_KEY_LENGTH:
                raise ConfigurationError(
                    f"CALLBOARD_API_KEYS: key number {position} has {len(key)} characters, "
                    f"expected at least {MIN_KEY_LENGTH} random ones."
                )
        self._callers = [(key_digest(key.encode()), operator_of(key)) for key in keys]

    def find(self, key: bytes) -> Caller | None:
        """Return whose key `key` is, the raw header value; None if it is none of the keys.

        Every key is compared, each in constant time, so that the time taken tells neither how much of a key was
        right nor which one it was.
        """
        digest = key_digest(key)
        matches = [caller for known, caller in self._callers if hmac.compare_digest(digest, known)]
        return matches[0] if matches else None


def operator_of(key: str) -> Caller:
    """Return who calls with this key of `CALLBOARD_API_KEYS`; the id tells one such key from another."""
    shown = key_digest(key.encode()).hex()[:8]
    return Caller(id=f"operator-{shown}", name="operator", scopes=frozenset({Scope.ADMIN}))


def key_digest(key: bytes) -> bytes:
    """Return the digest of a key, which may be kept and compared."""
    return hashlib.sha256(key).digest()
