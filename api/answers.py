"""The body of `result` and `cancel`, from what the engine says of a Run (docs/contract.md, section 6.2)."""

from __future__ import annotations

from typing import Any

from api.jsontext import member, object_of, raw_member, text_of
from contract.flow.run import RunError, RunOutcome, RunReason
from engine.runs import RunState
from storage.store import Store


async def result_body(state: RunState, store: Store) -> bytes:
    """The answer as JSON text.

    What user code returned is put in as the text it is, without parsing: it reaches the client byte for byte.

    Raises:
        StoreError: An artifact is missing or cannot be read.
    """
    members = [member("runId", state.run_id), member("status", state.status.value)]
    outcome = state.outcome
    if outcome is None:
        return object_of(members)
    members += await returned(outcome, state.run_id, store)
    if outcome.error is not None:
        members.append(member("error", error_body(outcome.error)))
    if outcome.reason is not None:
        members.append(member("reason", reason_body(outcome.reason)))
    if cause := outcome.error or outcome.reason:
        members.append(member("message", cause.message))
    return object_of(members)


async def returned(outcome: RunOutcome, run_id: str, store: Store) -> list[bytes]:
    """The members `result` and `extendedPayloads`, of those that there are. Raises StoreError."""
    values = {"result": outcome.result, "extendedPayloads": outcome.extended_payloads}
    return [
        raw_member(name, await text_of(value, name, run_id, store))
        for name, value in values.items()
        if value is not None
    ]


def error_body(error: RunError) -> dict[str, Any]:
    """`error` of an answer."""
    body = {"code": error.code.value, "category": error.category, "message": error.message}
    return {**body, "retirable": error.retirable, **_details(error.details)}


def reason_body(reason: RunReason) -> dict[str, Any]:
    """`reason` of an answer."""
    return {"type": reason.type.value, "message": reason.message, **_details(reason.details)}


def _details(details: dict[str, Any] | None) -> dict[str, Any]:
    return {} if details is None else {"details": details}
