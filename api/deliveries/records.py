"""Answers about Deliveries: their state in Temporal, with the records of their tries."""

from __future__ import annotations

import asyncio

from api.dependencies import Services
from schemas.rest.delivery import Delivery, DeliveryError, Try
from schemas.workflow.delivery import TryProblem, TryRecord
from storage import keys
from temporal.deliveries import DeliveryState

_AT_ONCE = 16
"""Number of records that are read concurrently: there may be hundreds."""


async def deliveries_of(parts: Services, project: str, run_id: str) -> list[Delivery]:
    """Return the Deliveries of a Run, which must exist.

    Raises:
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    states = await parts.deliveries.of_run(parts.settings.workspace, project, run_id)
    return [await delivery_body(parts, project, run_id, state) for state in states]


async def delivery_body(parts: Services, project: str, run_id: str, state: DeliveryState) -> Delivery:
    """Return a Delivery with its tries. Raises StoreError."""
    records = [key async for key in parts.store.list(keys.delivery_tries(project, run_id, state.id))]
    limit = asyncio.Semaphore(_AT_ONCE)

    async def read(key: str) -> Try | None:
        async with limit:
            record = await parts.store.get(key)
        return None if record is None else try_body(TryRecord.model_validate_json(record))

    tries = await asyncio.gather(*(read(key) for key in records))  # the keys are in chronological order
    return Delivery(
        id=state.id,
        sink=state.sink,
        status=state.status,
        error=_error(state.error),
        tries=[each for each in tries if each is not None],
    )


def try_body(record: TryRecord) -> Try:
    """Return one try of a Delivery, from its record."""
    return Try(
        at=record.at,
        status_code=record.status_code,
        error=_error(record.error),
        latency=None if record.latency is None else round(record.latency.total_seconds(), 6),
        answer=record.answer,
    )


def _error(problem: TryProblem | None) -> DeliveryError | None:
    return None if problem is None else DeliveryError(type=problem.type, message=problem.message)
