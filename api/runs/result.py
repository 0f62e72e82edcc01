"""The body of the answers to `result` and `cancel`, made from a Run's state (docs/contract.md, section 6.2)."""

from __future__ import annotations

from api.contract_values import closed_outcome
from api.http.raw_json import member, object_of, raw_member, text_of
from schemas.workflow.run import RunOutcome
from storage.store import Store
from temporal.runs import RunState


async def result_body(state: RunState, store: Store) -> bytes:
    """Return the answer as JSON text.

    The JSON text that user code returned is inserted without being parsed: it reaches the client byte for byte.

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
    """Return the members `result` and `extendedPayloads`, each if there is one. Raises StoreError."""
    values = {"result": outcome.result, "extendedPayloads": outcome.extended_payloads}
    return [
        raw_member(name, await text_of(value, name, run_id, store))
        for name, value in values.items()
        if value is not None
    ]
