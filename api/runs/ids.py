"""Ids of Runs."""

from __future__ import annotations

import secrets
from base64 import urlsafe_b64encode

LENGTH = 21
"""Number of characters of a Run id, each of A-Z, a-z, 0-9, _ and - (docs/contract.md, section 6.1)."""


def new_run_id() -> str:
    """Return a new random id."""
    return run_id_from(urlsafe_b64encode(secrets.token_bytes(16)).decode("ascii"))


def run_id_from(token: str) -> str:
    """Return the id made from a token: random text, or a keyed hash, of the same characters.

    It never begins with a hyphen, which commands would take for an option.
    """
    return ("_" + token[1:] if token.startswith("-") else token)[:LENGTH]
