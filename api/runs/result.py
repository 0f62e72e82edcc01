"""The answers to `result` and `cancel`: the wait for a Run's end, and the body made from its state.

The body is that of docs/contract.md, section 6.2. A wait lasts no longer than its client waits.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from starlette.requests import ClientDisconnect, Request

from api.contract_values import contract_outcome
from api.dependencies import Services
from schemas.errors import StoreError
from schemas.workflow.base import JsonRef
from schemas.workflow.run import RunOutcome
from storage.raw_json import RawJson, dump_object, read_json
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


async def poll_run_state(services: Services, request: Request, project: str, run_id: str, wait: timedelta) -> RunState:
    """Return the Run's state when it ends, after `wait`, or when the process shuts down, whatever comes first.

    No task outlives the call.

    Raises:
        NotFound: There is no such Run.
        Unavailable: Temporal does not answer.
        ClientDisconnect: The client has left, so there is nobody to answer.
    """
    workspace = services.settings.workspace
    if wait <= timedelta():
        return await services.runs.get_state(workspace, project, run_id)
    state = asyncio.create_task(services.runs.get_state(workspace, project, run_id, wait=wait))
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    shutdown = asyncio.create_task(services.shutting_down.wait())
    try:
        await asyncio.wait((state, disconnect, shutdown), return_when=asyncio.FIRST_COMPLETED)
        if state.done():
            return state.result()
        if disconnect.done():
            raise ClientDisconnect
    finally:
        for task in (state, disconnect, shutdown):
            task.cancel()
        await asyncio.gather(state, disconnect, shutdown, return_exceptions=True)
    return await services.runs.get_state(workspace, project, run_id)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # this message is a part of the request's body, which nobody needs
