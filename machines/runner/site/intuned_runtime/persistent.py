"""Values that outlive the Run: one store for each project (contract section 3.2)."""

from __future__ import annotations

import json
from typing import Any

from .context import IntunedContext


class PersistentStore:
    """Key and JSON value. Each `set` is atomic; of two at the same time, the later one stays."""

    async def get(self, key: str) -> Any:
        """The value of `key`, or None if it was never set. Raises ValueError for a key that cannot be one."""
        value: str | None = await IntunedContext.current().ask("persistent_get", key=_checked(key))
        return None if value is None else json.loads(value)

    async def set(self, key: str, value: Any) -> None:
        """Keep `value` under `key`. Raises ValueError for a key that cannot be one or a value that is not JSON."""
        text = json.dumps(value, allow_nan=False)
        await IntunedContext.current().ask("persistent_set", key=_checked(key), value=text)


def _checked(key: str) -> str:
    if not key or ":" in key or "#" in key:
        raise ValueError(f"persistent_store: a key is at least one character, without ':' and '#'; not {key!r}")
    return key


persistent_store = PersistentStore()
