"""The question "Did you mean …?" for a name that is nearly right."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

_MAX_LENGTH = 100
_MAX_COMPARED = 1000
"""Most names that a wrong one is compared with: a thousand take the event loop some 20 ms of processor time."""


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a sentence with the most similar of the known names, after a space, or an empty text if none is similar.

    The caller decides which names may be told to whoever reads the message.
    """
    similar = difflib.get_close_matches(name[:_MAX_LENGTH], list(islice(known, _MAX_COMPARED)), n=1)
    return f" Did you mean {similar[0]}?" if similar else ""
