"""Values that outlive the Run: one store for each project (docs/contract.md, section 3.2)."""

from __future__ import annotations

import json
from typing import Any

from .context import IntunedContext


class PersistentStore:
    """Key and JSON value. Each `set` is atomic; of two at the same time, the later one stays."""

    async def get(self, key: str) -> Any:
        """Return the value of `key`, or None if it was never set. Raises ValueError for a key that cannot be one."""
        value: str | None = await IntunedContext.current().ask("persistent_get", key=_checked(key))
        return None if value is None else json.loads(value)

    async def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`. Raises ValueError for a key that cannot be one or a value that is not JSON."""
        key = _checked(key)
        try:
            text = json.dumps(value, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise ValueError(f"persistent_store: the value for {key!r:.100} is not JSON: {error}") from error
        await IntunedContext.current().ask("persistent_set", key=key, value=text)


def _checked(key: object) -> str:
    if not isinstance(key, str) or not key or ":" in key or "#" in key:
        raise ValueError(
            f"persistent_store: a key is text of at least one character, without ':' and '#'; not {key!r:.100}"
        )
    return key


persistent_store = PersistentStore()
