"""The activities that keep the artifact store in order: records of lost Attempts, old states, old Runs."""

from __future__ import annotations

from datetime import timedelta

from temporalio import activity
from temporalio.client import Client

from activities.artifact_sweeper import ArtifactSweeper, SweepProgress
from activities.attempts.attempt_artifacts import AttemptRecords
from activities.heartbeat import heartbeats
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptOutcome, InterruptedInput
from callboard.schemas.workflow.auth import DeleteStatesInput
from callboard.schemas.workflow.sweep import SweepPart, SweepPartResult
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.store import Store

_INTERRUPTED_RECORD_TIMEOUT = timedelta(seconds=3)
"""How long each request to the store is retried: the activity `record_lost` has ten seconds in all."""


class ArtifactActivities:
    """The activities on artifacts, on the common task queue."""

    def __init__(self, store: Store, records: AttemptRecords, sweeper: ArtifactSweeper) -> None:
        self._store = store
        self._records = records
        self._sweeper = sweeper

    @classmethod
    def of(cls, settings: Settings, client: Client, store: Store) -> ArtifactActivities:
        """Return the activities of a worker with these settings."""
        retention = settings.version_retention
        sweeper = ArtifactSweeper(client, store, settings.audit_retention, version_retention=retention)
        return cls(store, AttemptRecords(store, client.data_converter), sweeper)

    @activity.defn(name=names.RECORD_INTERRUPTED)
    async def record_interrupted(self, input: InterruptedInput) -> AttemptOutcome | None:
        """Return the outcome that the Attempt's worker has stored; without one, record the Attempt as interrupted.

        Raises:
            StoreError: What is stored cannot be read.
        """
        return await self._records.record_interrupted(input, unheard=True, within=_INTERRUPTED_RECORD_TIMEOUT)

    @activity.defn(name=names.DELETE_STATES)
    async def delete_states(self, input: DeleteStatesInput) -> None:
        """Remove artifacts of an AuthSession: the named ones, or all if none is named. Raises StoreError."""
        if input.keys:
            for key in input.keys:
                await self._store.delete(key)
            return
        async for key in self._store.list(object_keys.auth_session(input.project, input.owner)):
            await self._store.delete(key)

    @activity.defn(name=names.SWEEP_ARTIFACTS)
    async def sweep_artifacts(self, input: SweepPart) -> SweepPartResult:
        """Examine a part of `runs/`, and remove the artifacts that may go.

        Raises:
            StoreError: The store cannot be listed; repeating helps.
            Unavailable, ConfigurationError: Temporal cannot say which Runs are in flight.
        """
        progress = SweepProgress.resume(input, activity.info().heartbeat_details)
        async with heartbeats(details=lambda: [progress.result()]):
            return await self._sweeper.sweep(input, progress)
