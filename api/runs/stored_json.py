"""JSON of a Run that must be readable: its parameters, its result and its extended payloads."""

from __future__ import annotations

from schemas.errors import StoreError
from schemas.workflow.base import JsonRef
from storage.raw_json import RawJson, read_json
from storage.store import Store


async def load_json(value: JsonRef, name: str, run_id: str, store: Store) -> RawJson:
    """Return the JSON text that `value` holds or refers to.

    Raises:
        StoreError: The text is an artifact that is missing or cannot be read; the message calls it `name`.
    """
    found = await read_json(value, store)
    if found is None:
        raise StoreError(
            f"The {name} of Run {run_id} is not in the artifact store any more. Was it deleted, or does this api look "
            "at another store than the worker that ran it? Both must have the same CALLBOARD_ARTIFACTS."
        )
    return found
