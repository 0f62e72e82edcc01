"""Light activities: stop an Attempt on this worker, record one that its worker could not record, forget logins."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity

from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.running_attempts import RunningAttempts
from schemas.workflow import names
from schemas.workflow.attempt import LostInput, StopInput
from schemas.workflow.auth import DeleteStatesInput
from storage import keys
from storage.store import Store

_PATIENCE = timedelta(seconds=3)
"""For each of what is asked of the store: the activity has ten seconds in all."""


class StopActivity:
    """On the queue of one worker."""

    def __init__(self, running_attempts: RunningAttempts) -> None:
        self._running_attempts = running_attempts

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, order: StopInput) -> bool:
        """Stop the Attempt if it is here; does not wait for its end. False if it is not here (any more)."""
        return self._running_attempts.stop(order.run_id, order.number)


class LostActivity:
    """On the common queue."""

    def __init__(self, store: Store) -> None:
        self._records = AttemptRecords(store)

    @activity.defn(name=names.RECORD_LOST)
    async def record_lost(self, order: LostInput) -> None:
        """Write `interrupted` into the Attempt's record, on top of what its worker had written. Raises StoreError."""
        await self._records.close_lost(order, within=_PATIENCE)


class ForgetActivity:
    """On the common queue."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=names.FORGET_STATES)
    async def forget_states(self, order: DeleteStatesInput) -> None:
        """Remove artifacts of an AuthSession: those that are named, or all that it has. Raises StoreError."""
        if order.keys:
            for key in order.keys:
                await self._store.delete(key)
            return
        async for key in self._store.list(keys.auth_session(order.project, order.owner)):
            await self._store.delete(key)
