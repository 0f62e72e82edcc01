"""Deliveries as they are answered: what the engine knows of them, with the records of their tries."""

from __future__ import annotations

import asyncio

from api.parts import Parts
from contract.flow.delivery import TryProblem, TryRecord
from contract.rest.delivery import Delivery, DeliveryError, Try
from engine.deliveries import DeliveryState
from storage import keys

_AT_ONCE = 16
"""Records that are read side by side: there may be hundreds."""


async def deliveries_of(parts: Parts, project: str, run_id: str) -> list[Delivery]:
    """Those of a Run, which must be there.

    Raises:
        StoreError, Unavailable: The store, or Temporal, does not answer.
    """
    states = await parts.deliveries.of_run(parts.settings.workspace, project, run_id)
    return [await delivery_body(parts, project, run_id, state) for state in states]


async def delivery_body(parts: Parts, project: str, run_id: str, state: DeliveryState) -> Delivery:
    """A Delivery with its tries. Raises StoreError."""
    records = [key async for key in parts.store.list(keys.delivery_tries(project, run_id, state.id))]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def read(key: str) -> Try | None:
        async with limit:
            record = await parts.store.get(key)
        return None if record is None else try_body(TryRecord.model_validate_json(record))

    tries = await asyncio.gather(*(read(key) for key in records))  # keys are in the order of time
    return Delivery(
        id=state.id,
        sink=state.sink,
        status=state.status,
        error=_error(state.error),
        tries=[each for each in tries if each is not None],
    )


def try_body(record: TryRecord) -> Try:
    """One try, from its record."""
    return Try(
        at=record.at,
        status_code=record.status_code,
        error=_error(record.error),
        latency=None if record.latency is None else round(record.latency.total_seconds(), 6),
        answer=record.answer,
    )


def _error(problem: TryProblem | None) -> DeliveryError | None:
    return None if problem is None else DeliveryError(type=problem.type, message=problem.message)
