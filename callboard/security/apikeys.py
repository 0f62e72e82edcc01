"""API keys: who calls with one, and what they may do; the keys of the operator, and the form of all other keys.

Those of the operator may do everything. All others are made over REST and kept in the artifact store
(`callboard.storage.api_keys`). Their form tells a key from another text, and their id, which is no secret, says where
the digest of a key is kept. A session of the pages has the rights of the key that somebody has signed in with.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import string
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from callboard.schemas.errors import ConfigurationError
from callboard.schemas.rest.access import Scope
from callboard.schemas.workflow.actor import Actor


@dataclass(frozen=True)
class Caller:
    """Who has sent a request: one key, with what it allows."""

    id: str
    """The visible id of the key."""
    name: str
    scopes: frozenset[Scope]
    projects: frozenset[str] | None = None
    """The projects that the key may see; None for all."""
    ends_at: datetime | None = None
    """The end of the key, in UTC; None if it has none."""

    @property
    def actor(self) -> Actor:
        """Who this is for those who see what the caller has started or canceled."""
        return Actor(id=self.id, name=self.name)

    def has(self, scope: Scope) -> bool:
        """Tell whether the key allows what needs this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, project: str) -> bool:
        """Tell whether the key may know of this project."""
        return self.projects is None or project in self.projects

    def sees_all(self, projects: Collection[str] | None) -> bool:
        """Tell whether the key may know of these projects; None stands for all, also for those to come."""
        return self.projects is None or (projects is not None and self.projects.issuperset(projects))

    def outlives(self, end: datetime | None) -> bool:
        """Tell whether the key is good until then; None stands for ever."""
        return self.ends_at is None or (end is not None and end <= self.ends_at)

    def covers(self, other: Caller) -> bool:
        """Tell whether this key allows all that the other one does, and for as long."""
        return (
            all(self.has(scope) for scope in other.scopes)
            and self.sees_all(other.projects)
            and self.outlives(other.ends_at)
        )


MIN_KEY_LENGTH = 20
"""Fewest characters of a key. A random key of this length cannot be guessed, however many guesses are made:
`token_urlsafe(15)` has 20 characters, and 120 bits."""

_ID = "[0-9A-Za-z]{12}"
_KEY = rf"cb_({_ID})_[0-9A-Za-z_-]{{43}}"
_IS_ID = re.compile(_ID, re.ASCII)
_IS_KEY = re.compile(_KEY.encode())
_HAS_KEY = re.compile(rf"(?<![0-9A-Za-z_-]){_KEY}(?![0-9A-Za-z_-])", re.ASCII)


class ApiKeys:
    """The API keys of the operator; several are valid at once, so that they can be rotated.

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

    def find(self, digest: bytes) -> Caller | None:
        """Return whose key has this digest (`key_digest`); None if none of the keys has it.

        Every key is compared, each in constant time, so that the time taken tells neither how much of a key was
        right nor which one it was.
        """
        matches = [caller for known, caller in self._callers if hmac.compare_digest(digest, known)]
        return matches[0] if matches else None

    def get(self, key_id: str) -> Caller | None:
        """Return who calls with the key of this id, which is no secret; None if it is that of no operator's key."""
        return next((caller for _, caller in self._callers if caller.id == key_id), None)


def operator_of(key: str) -> Caller:
    """Return who calls with this key of `CALLBOARD_API_KEYS`; the id tells one such key from another."""
    shown = key_digest(key.encode()).hex()[:8]
    return Caller(id=f"operator-{shown}", name="operator", scopes=frozenset({Scope.ADMIN}))


def key_digest(key: bytes) -> bytes:
    """Return the digest of a key, which may be kept and compared."""
    return hashlib.sha256(key).digest()


def new_key() -> tuple[str, str]:
    """Return the id of a new key, and the key, which has 256 random bits."""
    key_id = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(12))
    return key_id, f"{key_prefix(key_id)}_{secrets.token_urlsafe(32)}"


def key_prefix(key_id: str) -> str:
    """Return the beginning of a key, which is no secret: people tell keys apart by it."""
    return f"cb_{key_id}"


def key_id_of(key: bytes) -> str | None:
    """Return the id of a key, as it was received; None if it has not the form of a key that is kept in the store."""
    match = _IS_KEY.fullmatch(key)
    return None if match is None else match[1].decode("ascii")


def is_key_id(text: str) -> bool:
    """Tell whether a text can be the id of a key that is kept in the store."""
    return _IS_ID.fullmatch(text) is not None


def has_key(text: str) -> bool:
    """Tell whether something in a text has the form of a key that is kept in the store, whether there is one or not."""
    return _HAS_KEY.search(text) is not None
