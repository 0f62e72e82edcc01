"""The body of `result` and `cancel`, from what the engine says of a Run (docs/contract.md, section 6.2)."""

from __future__ import annotations

from api.closed_words import closed_outcome
from api.jsontext import member, object_of, raw_member, text_of
from contract.flow.run import RunOutcome
from engine.runs import RunState
from storage.store import Store


async def result_body(state: RunState, store: Store) -> bytes:
    """The answer as JSON text.

    What user code returned is put in as the text it is, without parsing: it reaches the client byte for byte.

    Raises:
        StoreError: An artifact is missing or cannot be read.
    """
    if state.outcome is None:
        return object_of([member("runId", state.run_id), member("status", state.status.value)])
    closed = closed_outcome(state.outcome)
    members = [member("runId", state.run_id), member("status", closed.status.value)]
    members += await returned(state.outcome, state.run_id, store)
    told = {"error": closed.error, "reason": closed.reason, "message": closed.message}
    members += [member(name, value) for name, value in told.items() if value is not None]
    return object_of(members)


async def returned(outcome: RunOutcome, run_id: str, store: Store) -> list[bytes]:
    """The members `result` and `extendedPayloads`, of those that there are. Raises StoreError."""
    values = {"result": outcome.result, "extendedPayloads": outcome.extended_payloads}
    return [
        raw_member(name, await text_of(value, name, run_id, store))
        for name, value in values.items()
        if value is not None
    ]
