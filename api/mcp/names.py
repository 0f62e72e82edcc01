"""The names of tools: which API of which project each stands for."""

from __future__ import annotations

import hashlib
import re

_LONGEST = 64
"""Most characters of a name. The protocol allows 128, and models that are given tools mostly half of that."""
_OTHER = re.compile(r"[^A-Za-z0-9_-]")
"""Characters that a name cannot have. The protocol allows dots, and such models do not."""
_DIGITS = 12
_LIKE_A_CUT_ONE = re.compile(rf"_[0-9a-f]{{{_DIGITS}}}\Z")


def tool_name(project: str, api: str) -> str:
    """Return the name of the tool that starts an API, which no other API has: `shop__list`.

    What cannot stand in a name becomes `_`, and what is too long is cut; then, the name ends with a hash of the whole.
    """
    plain = f"{project}__{api}"
    if len(plain) <= _LONGEST and not _OTHER.search(plain) and not _LIKE_A_CUT_ONE.search(plain):
        return plain
    digest = hashlib.sha256(plain.encode()).hexdigest()[:_DIGITS]
    return f"{_OTHER.sub('_', plain)[: _LONGEST - _DIGITS - 1]}_{digest}"


def split_plain_name(name: str) -> tuple[str, str] | None:
    """Return the project and the API of a name that is whole; None if it has no such form.

    No name of a project has `__`, or ends with `_`, so that the first one stands between the two.
    """
    project, between, api = name.partition("__")
    return (project, api) if between and api else None
