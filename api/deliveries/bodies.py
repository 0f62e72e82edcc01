"""Answers about Deliveries: their state in Temporal, with the records of their tries."""

from __future__ import annotations

import asyncio

from api.dependencies import Services
from schemas.rest.delivery import DeliveryBody, DeliveryError, TryBody
from schemas.workflow.delivery import TryProblem, TryRecord
from storage import keys
from temporal.deliveries import DeliveryState

_CONCURRENT_READS = 16
"""Number of records that are read concurrently: there may be hundreds."""


async def list_deliveries(services: Services, project: str, run_id: str) -> list[DeliveryBody]:
    """Return the Deliveries of a Run, which must exist.

    Raises:
        StoreError, Unavailable: The artifact store, or Temporal, does not answer.
    """
    states = await services.deliveries.list_for_run(services.settings.workspace, project, run_id)
    return [await delivery_body(services, project, run_id, state) for state in states]


async def delivery_body(services: Services, project: str, run_id: str, state: DeliveryState) -> DeliveryBody:
    """Return a Delivery with its tries. Raises StoreError."""
    records = [key async for key in services.store.list(keys.delivery_tries(project, run_id, state.id))]
    limit = asyncio.Semaphore(_CONCURRENT_READS)

    async def read(key: str) -> TryBody | None:
        async with limit:
            record = await services.store.get(key)
        return None if record is None else try_body(TryRecord.model_validate_json(record))

    tries = await asyncio.gather(*(read(key) for key in records))  # the keys are in chronological order
    return DeliveryBody(
        id=state.id,
        sink=state.sink,
        status=state.status,
        error=_error_body(state.error),
        tries=[each for each in tries if each is not None],
    )


def try_body(record: TryRecord) -> TryBody:
    """Return one try of a Delivery, from its record."""
    return TryBody(
        at=record.at,
        status_code=record.status_code,
        error=_error_body(record.error),
        latency=None if record.latency is None else round(record.latency.total_seconds(), 6),
        answer=record.answer,
    )


def _error_body(error: TryProblem | None) -> DeliveryError | None:
    return None if error is None else DeliveryError(type=error.type, message=error.message)
