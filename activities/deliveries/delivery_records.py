"""Record the tries of a Delivery in the artifact store: each is an object of its own, named after when it began."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

from activities.store_retry import retry_store
from machines.cancellation import uncancellable
from schemas.errors import StoreError
from schemas.workflow.delivery import DeliverInput, TryProblem, TryRecord
from storage import keys
from storage.store import Store

log = logging.getLogger(__name__)

_STORE_TIMEOUT = timedelta(seconds=45)


class DeliveryRecords:
    """Writes the records of a Delivery's tries."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def write(self, delivery: DeliverInput, record: TryRecord) -> None:
        """Write a record. A store that fails for long costs the record, not the Delivery."""
        key = _key(delivery, record.at)
        body = record.model_dump_json(exclude_none=True).encode()
        try:
            await retry_store(_STORE_TIMEOUT, lambda: uncancellable(self._store.put(key, body)))
        except StoreError:
            log.exception("Run %s, Delivery %s: no record of a try", delivery.run_id, delivery.delivery_id)

    async def count(self, delivery: DeliverInput) -> int | None:
        """Return how many tries have been recorded; None if the store cannot say."""
        prefix = keys.delivery_tries(delivery.project, delivery.run_id, delivery.delivery_id)
        try:
            return len([key async for key in self._store.list(prefix)])
        except StoreError:
            log.exception("Run %s, Delivery %s: tries not counted", delivery.run_id, delivery.delivery_id)
            return None

    async def write_lost(self, delivery: DeliverInput, began: str) -> None:
        """Record a try that began at this time, unless the worker that made it has recorded it."""
        at = datetime.fromisoformat(began)
        try:
            if await self._store.exists(_key(delivery, at)):
                return
        except StoreError:
            log.exception("Run %s, Delivery %s: no record of a lost try", delivery.run_id, delivery.delivery_id)
            return
        problem = TryProblem(type="WorkerLost", message="The worker was lost before it could say what came of it.")
        await self.write(delivery, TryRecord(at=at, error=problem))


def _key(delivery: DeliverInput, at: datetime) -> str:
    time = at.astimezone(UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    return keys.delivery_try(delivery.project, delivery.run_id, delivery.delivery_id, time)
