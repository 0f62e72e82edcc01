"""Provide light activities: stop an Attempt on this worker, record a lost one, delete states of AuthSessions."""

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
"""How long each request to the store is retried: the activity has ten seconds in all."""


class StopActivity:
    """The activity `stop_attempt`, on the task queue of one worker."""

    def __init__(self, running_attempts: RunningAttempts) -> None:
        self._running_attempts = running_attempts

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, order: StopInput) -> bool:
        """Stop the Attempt if it is here, without waiting for its end; return False if it is not here (any more)."""
        return self._running_attempts.stop(order.run_id, order.number)


class LostActivity:
    """The activity `record_lost`, on the common task queue."""

    def __init__(self, store: Store) -> None:
        self._records = AttemptRecords(store)

    @activity.defn(name=names.RECORD_LOST)
    async def record_lost(self, order: LostInput) -> None:
        """Record the Attempt as interrupted, on top of what its worker had written. Raises StoreError."""
        await self._records.close_lost(order, within=_PATIENCE)


class ForgetActivity:
    """The activity `forget_states`, on the common task queue."""

    def __init__(self, store: Store) -> None:
        self._store = store

    @activity.defn(name=names.FORGET_STATES)
    async def forget_states(self, order: DeleteStatesInput) -> None:
        """Remove artifacts of an AuthSession: the named ones, or all if none is named. Raises StoreError."""
        if order.keys:
            for key in order.keys:
                await self._store.delete(key)
            return
        async for key in self._store.list(keys.auth_session(order.project, order.owner)):
            await self._store.delete(key)
