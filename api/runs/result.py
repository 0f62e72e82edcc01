"""The body of the answers to `result` and `cancel`, made from a Run's state (docs/contract.md, section 6.2)."""

from __future__ import annotations

from typing import Any

from api.contract_values import contract_outcome
from api.runs.stored_json import load_json
from schemas.workflow.run import RunOutcome
from storage.raw_json import RawJson, dump_object
from storage.store import Store
from temporal.runs import RunState


async def result_json(state: RunState, store: Store) -> RawJson:
    """Return the answer.

    Raises:
        StoreError: An artifact is missing or cannot be read.
    """
    if state.outcome is None:
        return dump_object({"runId": state.run_id, "status": state.status.value})
    contract = contract_outcome(state.outcome)
    members: dict[str, Any] = {"runId": state.run_id, "status": contract.status.value}
    members |= await returned_values(state.outcome, state.run_id, store)
    causes = {"error": contract.error, "reason": contract.reason, "message": contract.message}
    return dump_object(members | {name: value for name, value in causes.items() if value is not None})


async def returned_values(outcome: RunOutcome, run_id: str, store: Store) -> dict[str, RawJson]:
    """Return the members `result` and `extendedPayloads`, each if there is one. Raises StoreError."""
    values = {"result": outcome.result, "extendedPayloads": outcome.extended_payloads}
    return {name: await load_json(value, name, run_id, store) for name, value in values.items() if value is not None}
