"""Ids of Runs: random, or those that the header Idempotency-Key stands for.

The same key with the same request gives the same Run. Its id is derived from the key by the secret key ring, so nothing
has to be stored, and every api process derives the same id.
"""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode
from dataclasses import dataclass

from callboard.schemas.errors import ConfigurationError, NotFound
from callboard.security.keyring import KeyRing
from callboard.starts.services import StartServices

_LENGTH = 21
"""Number of characters of a Run id, each of A-Z, a-z, 0-9, _ and - (docs/contract.md, section 6.1)."""


@dataclass(frozen=True)
class RunIdentity:
    """The id of a Run, and the keyed hash of the request that it was started with."""

    run_id: str
    fingerprint: str = ""
    """Keyed hash of the request; empty without an Idempotency-Key, because a random id is never started twice."""


async def resolve_identity(
    services: StartServices, project: str, request: bytes, idempotency_key: str | None
) -> RunIdentity:
    """Return the identity of the Run that an Idempotency-Key and this request stand for; without a key, of a new Run.

    A start takes the first identity that the key stands for, unless a Run with one of the others was started before
    the key ring was rotated.

    Raises:
        ConfigurationError: There is no secret key to derive an id with.
        Unavailable: Temporal does not answer.
    """
    if idempotency_key is None:
        return RunIdentity(new_run_id())
    workspace = services.settings.workspace
    newest, *older = derive_identities(services.ring, workspace, project, idempotency_key, request)
    for identity in older:
        if await was_started(services, project, identity):
            return identity
    return newest


async def was_started(services: StartServices, project: str, identity: RunIdentity) -> bool:
    """Tell whether a request with this Idempotency-Key has started its Run before. Raises Unavailable."""
    if not identity.fingerprint:
        return False  # Without an Idempotency-Key, each request is a Run of its own.
    try:
        await services.runs.get_state(services.settings.workspace, project, identity.run_id)
    except NotFound:
        return False
    return True


def derive_identities(ring: KeyRing, workspace: str, project: str, key: str, request: bytes) -> list[RunIdentity]:
    """Return the identities that an Idempotency-Key stands for: by the newest key of the ring, then by the older ones.

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
    requests = ring.fingerprints(request, bound_to=f"start body {owner}")
    return [RunIdentity(run_id_from(run_id), fingerprint) for run_id, fingerprint in zip(ids, requests, strict=True)]


def new_run_id() -> str:
    """Return a new random id."""
    return run_id_from(urlsafe_b64encode(secrets.token_bytes(16)).decode("ascii"))


def run_id_from(token: str) -> str:
    """Return the id made from a token: random text, or a keyed hash, of the same characters.

    It never begins with a hyphen, which commands would take for an option.
    """
    return ("_" + token[1:] if token.startswith("-") else token)[:_LENGTH]
