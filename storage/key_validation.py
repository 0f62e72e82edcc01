"""Validate the keys of all artifact stores: a key is a plain relative path, with `/` between its parts.

Anything else is a ValueError, since keys come from `storage.keys` and not from outside. A bucket would accept more than
a folder can; it is held to the same rules, so that what works with one store works with the other.
"""

from __future__ import annotations

from storage.files import TEMPORARY_PREFIX


def check_key(key: str) -> None:
    """Raise ValueError if `key` cannot be the key of an object."""
    for part in key.split("/"):
        _check_part(key, part)


def check_prefix(prefix: str) -> None:
    """Raise ValueError if no key can begin with `prefix`."""
    *folders, begin = prefix.split("/")
    for part in folders:
        _check_part(prefix, part)
    if "\0" in begin:
        raise ValueError(f"{prefix!r} is not the beginning of a key of the artifact store.")


def _check_part(key: str, part: str) -> None:
    if part in {"", ".", ".."} or part.startswith(TEMPORARY_PREFIX) or "\0" in part:
        raise ValueError(f"{key!r} is not a key of the artifact store: {part!r} cannot be a part of one.")
