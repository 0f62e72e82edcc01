"""Answers put together as text: what user code returned goes in byte for byte, without being parsed."""

from __future__ import annotations

import json
from typing import Any

from contract.errors import StoreError
from contract.flow.base import JsonText
from storage.store import Store


def member(name: str, value: Any) -> bytes:
    """A member of an object, from a value."""
    return raw_member(name, json.dumps(value, separators=(",", ":")).encode("ascii"))


def raw_member(name: str, text: bytes) -> bytes:
    """A member of an object, from the JSON text of its value."""
    return b'"%s":%s' % (name.encode("ascii"), text)


def object_of(members: list[bytes]) -> bytes:
    """The object with these members."""
    return b"{%s}" % b",".join(members)


async def text_of(value: JsonText, name: str, run_id: str, store: Store) -> bytes:
    """The JSON text itself.

    Raises:
        StoreError: It is an artifact that is missing or cannot be read; `name` says to people what it is.
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
