"""Ids of Runs."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode

LENGTH = 21
"""Number of characters of a Run id, each of A-Z, a-z, 0-9, _ and - (docs/contract.md, section 6.1)."""

_RUN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


def is_run_id(text: str) -> bool:
    """Tell whether a Run may have this id, so that it may be a part of a key of the store."""
    return _RUN_ID.fullmatch(text) is not None


def new_run_id() -> str:
    """Return a new random id."""
    return run_id_from(urlsafe_b64encode(secrets.token_bytes(16)).decode("ascii"))


def run_id_from(random: str) -> str:
    """Return the id made from random text of the same characters.

    It never begins with a hyphen, which commands would take for an option.
    """
    return ("_" + random[1:] if random.startswith("-") else random)[:LENGTH]
