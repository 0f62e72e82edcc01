"""Manage sessions of people who have signed in with an API key: the value of their cookie, and their forms' token.

A session is `{its end}.{a nonce}.{the id of the API key}.{a keyed hash of all of these}`. The key of the hash is
derived from the first API key of the operator, and those of the others are accepted, too. So every api knows each
session, and nothing is stored for it until somebody signs out. Whoever reads a session has to look whether that has
happened, and whether its API key is still good. If there is a key ring, the whole is sealed, so that nobody can try out
keys against a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from callboard.schemas.errors import CallboardError
from callboard.security.apikeys import Caller
from callboard.security.keyring import KeyRing, derive_key

SESSION_LIFETIME = timedelta(hours=12)

_BOUND_TO = "session of the pages"
_COOKIE = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9A-Za-z-]{1,40})\.([0-9a-f]{64})", re.ASCII)


@dataclass(frozen=True)
class Session:
    """The session of a person who has signed in."""

    nonce: str
    expires_at: int
    """End of the session, in seconds since 1970."""
    form_token: str
    """Token that every form that changes something sends: no other site can know it."""
    key_id: str
    """Id of the API key that the person has signed in with."""

    def owns(self, token: str) -> bool:
        """Tell whether a form with this token belongs to this session."""
        return hmac.compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))


class SignInSessions:
    """Opens and recognizes sessions. It holds derived keys only: no API key can be printed from here."""

    def __init__(self, api_keys: Sequence[str], ring: KeyRing) -> None:
        """Take the API keys of the operator, of which there is at least one."""
        self._keys = [derive_key(key.encode(), b"callboard session", 32) for key in api_keys]
        self._ring = ring

    def open(self, caller: Caller) -> str:
        """Return the cookie of a new session, for a person who has shown the key of this caller."""
        ends = int(time.time() + SESSION_LIFETIME.total_seconds())
        if caller.ends_at is not None:
            ends = min(ends, int(caller.ends_at.timestamp()))
        signed = f"{ends}.{secrets.token_urlsafe(16)}.{caller.id}"
        plain = f"{signed}.{_hash(self._keys[0], signed)}"
        return self._ring.seal(plain, bound_to=_BOUND_TO) if self._ring else plain

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie, if Callboard made it, and its time is not over."""
        if self._ring:
            try:
                cookie = self._ring.open(cookie, bound_to=_BOUND_TO)
            except CallboardError:  # not made by Callboard, or sealed with a key that was taken out of the ring
                return None
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        ends, nonce, key_id, given = match.groups()
        if int(ends) < time.time():
            return None
        # All keys are compared, each in constant time, as `callboard.security.apikeys` does.
        signed = f"{ends}.{nonce}.{key_id}"
        good = [key for key in self._keys if hmac.compare_digest(_hash(key, signed), given)]
        return Session(nonce, int(ends), _hash(good[0], f"form {nonce}"), key_id) if good else None


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
