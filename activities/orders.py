"""Light activities: stop an Attempt on this worker, and record one that its worker could not record."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from temporalio import activity

from activities.records import Records, interruption
from activities.ticket import Tickets
from contract.flow import names
from contract.flow.attempt import AttemptRecord, AttemptStatus, LostInput, StopInput
from storage.store import Store

_PATIENCE = timedelta(seconds=5)


class StopActivity:
    """On the queue of one worker."""

    def __init__(self, tickets: Tickets) -> None:
        self._tickets = tickets

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, order: StopInput) -> bool:
        """Stop the Attempt if it is here; does not wait for its end. False if it is not here (any more)."""
        return self._tickets.stop(order.run_id, order.number)


class LostActivity:
    """On the common queue."""

    def __init__(self, store: Store) -> None:
        self._records = Records(store)

    @activity.defn(name=names.RECORD_LOST)
    async def record_lost(self, lost: LostInput) -> None:
        """Write `interrupted` into the Attempt's record, on top of what its worker had written."""
        known = await self._records.read(lost.project, lost.run_id, lost.number)
        if known is not None and known.status is not AttemptStatus.STARTED:
            return  # the worker recorded the end itself
        base = known or AttemptRecord(run_id=lost.run_id, number=lost.number, status=AttemptStatus.INTERRUPTED)
        record = base.model_copy(
            update={
                "status": AttemptStatus.INTERRUPTED,
                "ended_at": datetime.now(UTC),
                "error": interruption(lost.cause),
            }
        )
        await self._records.write(lost.project, record, within=_PATIENCE)
