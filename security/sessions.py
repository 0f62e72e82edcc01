"""Sessions of people who have signed in with an API key: what their cookie holds, and the token of their forms.

A session is `{its end}.{a nonce}.{a keyed hash of both}`. The hash's key is derived from the API key that was signed in
with, so a session ends with the key that opened it, every api process knows it, and nothing is kept for it. Where there
is a key ring the whole is sealed, so that nobody can try out keys against a cookie.
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

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from schemas.errors import CallboardError
from security.keyring import KeyRing

LASTS = timedelta(hours=12)

_BOUND_TO = "session of the pages"
_PLAIN = re.compile(r"([0-9]{1,12})\.([A-Za-z0-9_-]{22})\.([0-9a-f]{64})", re.ASCII)
_REMEMBERED = 10_000
"""Sessions that were signed out, and would still be good."""


@dataclass(frozen=True)
class Session:
    """Somebody who has signed in."""

    nonce: str
    ends: int
    """Seconds since 1970."""
    form_token: str
    """Every form that changes something sends it along: no other site can know it."""

    def owns(self, token: str) -> bool:
        """Whether a form with this token is one of this session."""
        return hmac.compare_digest(self.form_token.encode(), token.encode("utf-8", "replace"))


class Sessions:
    """Opens and recognises sessions. Holds derived keys only: no API key can be printed from here."""

    def __init__(self, api_keys: Sequence[str], ring: KeyRing) -> None:
        self._keys = [_derive(key) for key in api_keys if key]
        self._ring = ring
        self._ended: OrderedDict[str, None] = OrderedDict()

    def open(self, api_key: str) -> str:
        """The cookie of a new session, for somebody who has shown that this key is theirs."""
        ends = int(time.time() + LASTS.total_seconds())
        signed = f"{ends}.{secrets.token_urlsafe(16)}"
        plain = f"{signed}.{_hash(_derive(api_key), signed)}"
        return self._ring.seal(plain, bound_to=_BOUND_TO) if self._ring else plain

    def read(self, cookie: str) -> Session | None:
        """The session of a cookie, if it is one of ours, has not ended, and its key still opens the API."""
        if self._ring:
            try:
                cookie = self._ring.open(cookie, bound_to=_BOUND_TO)
            except CallboardError:  # not ours, or of a key that was taken out of the ring
                return None
        match = _PLAIN.fullmatch(cookie)
        if match is None:
            return None
        ends, nonce, given = match.groups()
        if int(ends) < time.time() or nonce in self._ended:
            return None
        # All are compared, each in constant time, as `security.apikeys` does.
        good = [key for key in self._keys if hmac.compare_digest(_hash(key, f"{ends}.{nonce}"), given)]
        return Session(nonce, int(ends), _hash(good[0], f"form {nonce}")) if good else None

    def end(self, session: Session) -> None:
        """Sign out: this process takes the session no more, also from somebody who has copied the cookie."""
        self._ended[session.nonce] = None
        if len(self._ended) > _REMEMBERED:
            self._ended.popitem(last=False)


def _derive(api_key: str) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=b"callboard session").derive(api_key.encode())


def _hash(key: bytes, text: str) -> str:
    return hmac.new(key, text.encode(), hashlib.sha256).hexdigest()
