"""JSON answers that are put together as text: the JSON that user code returned is inserted without being parsed."""

from __future__ import annotations

import json
from typing import Any

from schemas.errors import StoreError
from schemas.workflow.base import JsonRef
from storage.store import Store


def member(name: str, value: Any) -> bytes:
    """Return the text of an object's member, from its name and value."""
    return raw_member(name, json.dumps(value, separators=(",", ":")).encode("ascii"))


def raw_member(name: str, text: bytes) -> bytes:
    """Return the text of an object's member, from its name and the JSON text of its value."""
    return b'"%s":%s' % (name.encode("ascii"), text)


def object_of(members: list[bytes]) -> bytes:
    """Return the text of the object with these members."""
    return b"{%s}" % b",".join(members)


async def text_of(value: JsonRef, name: str, run_id: str, store: Store) -> bytes:
    """Return the JSON text that `value` holds or refers to.

    Raises:
        StoreError: The text is an artifact that is missing or cannot be read; the message calls it `name`.
    """
    if value.text is not None:
        return value.text.encode("ascii")
    data = await store.get(value.key) if value.key is not None else None
    if data is None:
        raise StoreError(
            f"The {name} of Run {run_id} is not in the artifact store any more. Was it deleted, or does this api look "
            "at another store than the worker that ran it? Both must have the same CALLBOARD_ARTIFACTS."
        )
    return data
