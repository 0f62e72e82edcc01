"""Ids of Runs: random ones, and those that are derived from an Idempotency-Key."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from schemas.errors import BadRequest, ConfigurationError
from schemas.rest.problems import bad_field
from security.keyring import KeyRing

LENGTH = 21
"""Number of characters of a Run id, each of A-Z, a-z, 0-9, _ and - (docs/contract.md, section 6.1)."""

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")

IDEMPOTENCY_HEADER = "idempotency-key"
_KEY = re.compile(r"[\x21-\x7e]{1,255}")


@dataclass(frozen=True)
class Identity:
    """The id of a Run, and the keyed hash of the body that it was started with."""

    run_id: str
    fingerprint: str = ""
    """Keyed hash of the body; empty without an Idempotency-Key, because a random id is never started twice."""


def is_run_id(text: str) -> bool:
    """Tell whether a Run may have this id, so that it may be a part of a key of the store."""
    return _RUN_ID.fullmatch(text) is not None


def new_identity() -> Identity:
    """Return an identity with a new random id."""
    return Identity(_run_id(urlsafe_b64encode(secrets.token_bytes(16)).decode("ascii")))


def identities(ring: KeyRing, workspace: str, project: str, key: str, body: bytes) -> list[Identity]:
    """Return the identities that an Idempotency-Key stands for: by the newest key of the ring, then by the older ones.

    A start takes the first one, unless a Run with one of the others was started before the ring was rotated.

    Raises:
        ConfigurationError: The ring is empty.
    """
    if not ring:
        raise ConfigurationError(
            "An Idempotency-Key was sent, and Callboard cannot honour it: CALLBOARD_SECRET_KEY is not set. "
            "Its operator must set it to 16 or more random characters, the same for every api and worker."
        )
    owner = f"{workspace}/{project}"
    ids = ring.fingerprints(key.encode("ascii"), bound_to=f"run id {owner}")
    bodies = ring.fingerprints(body, bound_to=f"start body {owner}")
    return [Identity(_run_id(run_id), fingerprint) for run_id, fingerprint in zip(ids, bodies, strict=True)]


def _run_id(random: str) -> str:
    """Return a Run id made from random text. It never begins with a hyphen, which commands would take for an option."""
    return ("_" + random[1:] if random.startswith("-") else random)[:LENGTH]


def check_idempotency_key(values: list[str]) -> str | None:
    """Return the value of the Idempotency-Key header, or None if it was not sent.

    Raises:
        BadRequest: The value is not 1 to 255 visible ASCII characters, or the header was sent more than once.
    """
    if not values:
        return None
    if len(values) > 1 or not _KEY.fullmatch(values[0]):
        raise _bad_key()
    return values[0]


def _bad_key() -> BadRequest:
    return bad_field("Idempotency-Key", "a header sent once, 1 to 255 visible ASCII characters")
