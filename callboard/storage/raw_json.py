"""JSON objects with members whose JSON text is inserted as it is, without being parsed.

What user code returned reaches clients and sinks byte for byte in this way. `orjson.Fragment` does the same, but orjson
refuses texts with half a surrogate pair, which messages of errors may hold.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from callboard.schemas.errors import ArtifactMissing
from callboard.schemas.workflow.base import JsonRef
from callboard.storage.store import Store


@dataclass(frozen=True)
class RawJson:
    """A value as JSON text."""

    text: bytes


def dump_object(members: Mapping[str, Any]) -> RawJson:
    """Return the JSON text of an object; each value is a `RawJson`, or something that `json.dumps` takes."""
    parts = (b'"%s":%s' % (name.encode("ascii"), _dump(value)) for name, value in members.items())
    return RawJson(b"{%s}" % b",".join(parts))


async def read_json(value: JsonRef, store: Store) -> RawJson | None:
    """Return the JSON text that `value` holds or refers to; None if it is not in the store any more.

    Raises:
        StoreError: The store failed.
    """
    if value.text is not None:
        return RawJson(value.text.encode("ascii"))
    data = None if value.key is None else await store.get(value.key)
    return None if data is None else RawJson(data)


async def load_json(value: JsonRef, name: str, run_id: str, store: Store) -> RawJson:
    """Return the JSON text that `value` holds or refers to.

    Raises:
        ArtifactMissing: The text is an artifact that is missing; the message calls it `name`.
        StoreError: The store failed.
    """
    found = await read_json(value, store)
    if found is None:
        raise ArtifactMissing(
            f"The {name} of Run {run_id} is not in the artifact store any more. Was it deleted, or does this api look "
            "at another store than the worker that ran it? Both must have the same CALLBOARD_ARTIFACTS."
        )
    return found


def _dump(value: Any) -> bytes:
    return value.text if isinstance(value, RawJson) else json.dumps(value, separators=(",", ":")).encode("ascii")
