"""Manage sessions of people who have signed in with an API key: the value of their cookie, and their forms' token.

A session is `{its end}.{a nonce}.{a keyed hash of both}`. The key of the hash is derived from the API key that was used
to sign in. So a session ends with its API key, every API process knows it, and nothing is stored for it. If there is a
key ring, the whole is sealed, so that nobody can try out keys against a cookie.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from schemas.errors import CallboardError
from security.apikeys import operator_of
from security.caller import Caller
from security.keyring import KeyRing, derive_key

SESSION_LIFETIME = timedelta(hours=12)

_BOUND_TO = "session of the pages"
_COOKIE = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)
_MAX_ENDED_SESSIONS = 10_000
"""How many sessions are remembered that were signed out, and would still be valid."""


@dataclass(frozen=True)
class Session:
    """The session of a person who has signed in."""

    nonce: str
    expires_at: int
    """End of the session, in seconds since 1970."""
    form_token: str
    """Token that every form that changes something sends: no other site can know it."""
    caller: Caller
    """Whose key the person has signed in with."""

    def owns(self, token: str) -> bool:
        """Tell whether a form with this token belongs to this session."""
        return hmac.compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))


class SignInSessions:
    """Opens and recognizes sessions. It holds derived keys only: no API key can be printed from here."""

    def __init__(self, api_keys: Sequence[str], ring: KeyRing) -> None:
        self._keys = [(_derive(key), operator_of(key)) for key in api_keys if key]
        self._ring = ring
        self._ended: OrderedDict[str, None] = OrderedDict()

    def open(self, api_key: str) -> str:
        """Return the cookie of a new session, for a person who has shown that this key is theirs."""
        ends = int(time.time() + SESSION_LIFETIME.total_seconds())
        signed = f"{ends}.{secrets.token_urlsafe(16)}"
        plain = f"{signed}.{_hash(_derive(api_key), signed)}"
        return self._ring.seal(plain, bound_to=_BOUND_TO) if self._ring else plain

    def read(self, cookie: str) -> Session | None:
        """Return the session of a cookie, if Callboard made it, it has not ended, and its key still opens the API."""
        if self._ring:
            try:
                cookie = self._ring.open(cookie, bound_to=_BOUND_TO)
            except CallboardError:  # not made by Callboard, or sealed with a key that was taken out of the ring
                return None
        match = _COOKIE.fullmatch(cookie)
        if match is None:
            return None
        ends, nonce, given = match.groups()
        if int(ends) < time.time() or nonce in self._ended:
            return None
        # All keys are compared, each in constant time, as `security.apikeys` does.
        good = [known for known in self._keys if hmac.compare_digest(_hash(known[0], f"{ends}.{nonce}"), given)]
        if not good:
            return None
        key, caller = good[0]
        return Session(nonce, int(ends), _hash(key, f"form {nonce}"), caller)

    def end(self, session: Session) -> None:
        """Sign out: this process no longer accepts the session, even from somebody who has copied the cookie."""
        self._ended[session.nonce] = None
        if len(self._ended) > _MAX_ENDED_SESSIONS:
            self._ended.popitem(last=False)


def _derive(api_key: str) -> bytes:
    return derive_key(api_key.encode(), b"callboard session", 32)


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
