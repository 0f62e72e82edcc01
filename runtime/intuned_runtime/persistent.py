"""Values that outlive the Run: one store for each project (docs/contract.md, section 3.2)."""

from __future__ import annotations

import json
from typing import Any

from .context import IntunedContext

LIMIT = 1024 * 1024
"""Most bytes of a value as JSON, together with its key."""


class PersistentStore:
    """Key and JSON value. Each `set` is atomic; of two at the same time, the later one stays."""

    async def get(self, key: str) -> Any:
        """Return the value of `key`, or None if it was never set. Raises ValueError for a key that cannot be one."""
        value: str | None = await IntunedContext.current().ask("persistent_get", key=_checked(key))
        return None if value is None else json.loads(value)

    async def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`; None frees what it takes.

        Raises:
            ValueError: The key cannot be one, or the value is no JSON, or they are larger than `LIMIT`.
            RuntimeError: The project's store is full, or could not be reached.
        """
        key = _checked(key)
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"persistent_store: the value for {key!r:.100} is not JSON: {error}") from error
        if (size := size_of(key) + len(text)) > LIMIT:
            raise ValueError(
                f"persistent_store: the value for {key!r:.100} is {size} bytes of JSON with its key; at most {LIMIT} "
                "are allowed. Split it, or store it elsewhere and keep a reference."
            )
        await IntunedContext.current().ask("persistent_set", key=key, value=text)


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key or ":" in key or "#" in key:
        raise ValueError(
            f"persistent_store: a key is text of at least one character, without ':' and '#'; not {key!r:.100}"
        )
    if size_of(key) >= LIMIT:
        raise ValueError(f"persistent_store: a key has less than {LIMIT} bytes; {key!r:.100} has {size_of(key)}")
    return key


def size_of(text: str) -> int:
    """Return how many bytes a text has in UTF-8, halves of surrogate pairs included."""
    return len(text.encode("utf-8", "surrogatepass"))


persistent_store = PersistentStore()
