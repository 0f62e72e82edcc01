"""The body of `result` and `cancel`, from what the engine says of a Run (contract 6.2)."""

from __future__ import annotations

import json
from typing import Any

from contract.errors import StoreError
from contract.flow.base import JsonText
from contract.flow.run import RunError, RunReason
from engine.runs import RunState
from storage.store import Store


async def result_body(state: RunState, store: Store) -> bytes:
    """The answer as JSON text.

    What user code returned is put in as the text it is, without parsing: it reaches the client byte for byte.

    Raises:
        StoreError: An artifact is missing or cannot be read.
    """
    members = [_member("runId", state.run_id), _member("status", state.status.value)]
    outcome = state.outcome
    if outcome is None:
        return _object(members)
    for name, value in (("result", outcome.result), ("extendedPayloads", outcome.extended_payloads)):
        if value is not None:
            members.append(_raw(name, await _text(value, name, state.run_id, store)))
    if outcome.error is not None:
        members.append(_member("error", error_body(outcome.error)))
    if outcome.reason is not None:
        members.append(_member("reason", reason_body(outcome.reason)))
    if cause := outcome.error or outcome.reason:
        members.append(_member("message", cause.message))
    return _object(members)


def error_body(error: RunError) -> dict[str, Any]:
    """`error` of an answer."""
    body = {"code": error.code.value, "category": error.category, "message": error.message}
    return {**body, "retirable": error.retirable, **_details(error.details)}


def reason_body(reason: RunReason) -> dict[str, Any]:
    """`reason` of an answer."""
    return {"type": reason.type.value, "message": reason.message, **_details(reason.details)}


async def _text(value: JsonText, name: str, run_id: str, store: Store) -> bytes:
    if value.text is not None:
        return value.text.encode("ascii")
    data = await store.get(value.key) if value.key is not None else None
    if data is None:
        raise StoreError(
            f"The {name} of Run {run_id} is not in the artifact store any more. Was it deleted, or does this api look "
            "at another store than the worker that ran it? Both must have the same CALLBOARD_ARTIFACTS."
        )
    return data


def _details(details: dict[str, Any] | None) -> dict[str, Any]:
    return {} if details is None else {"details": details}


def _member(name: str, value: Any) -> bytes:
    return _raw(name, json.dumps(value, separators=(",", ":")).encode("ascii"))


def _raw(name: str, text: bytes) -> bytes:
    return b'"%s":%s' % (name.encode("ascii"), text)


def _object(members: list[bytes]) -> bytes:
    return b"{%s}" % b",".join(members)
