"""The activities of JobRuns, on the common task queue."""

from __future__ import annotations

import asyncio
from pathlib import Path

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.heartbeat import SHORT_INTERVAL, background_task, forward_cancellation, heartbeats
from activities.jobs.item_runs import ItemRuns
from activities.jobs.job_planner import JobPlanner
from activities.jobs.piece import Piece
from activities.jobs.rerun_items import copy_unfinished
from callboard.projects.catalog import Catalog
from callboard.projects.job_definition import find_definition
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import ConfigurationError, NotFound, SealError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.auth import AuthSessionStatus
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.job import JobDefinition, JobOverlap
from callboard.schemas.workflow.job_run import (
    AUTH_SESSION_NOT_FOUND,
    NOT_PREPARED,
    NOT_READY,
    AwaitAuthSessionInput,
    JobItemsInput,
    JobItemsResult,
    JobLockInput,
    JobLockResult,
    JobRunPlan,
    PrepareJobRunInput,
)
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import delivery_schedule
from callboard.settings import Settings
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.job_locks import JobLocks
from callboard.temporal.run_waits import RunWaits


class JobRunActivities:
    """The activities of JobRuns."""

    def __init__(
        self,
        *,
        client: Client,
        store: Store,
        catalog: Catalog,
        planner: JobPlanner,
        waits: RunWaits,
        dev_projects: Path | None,
    ) -> None:
        self._client = client
        self._store = store
        self._catalog = catalog
        self._planner = planner
        self._waits = waits
        self._dev_projects = dev_projects
        self._locks = JobLocks(client)
        self._auth_sessions = AuthSessions(client)

    @classmethod
    def of(
        cls, settings: Settings, client: Client, store: Store, catalog: Catalog, waits: RunWaits
    ) -> JobRunActivities:
        """Return the activities of a worker with these settings. Raises ConfigurationError if a key is too short."""
        planner = JobPlanner(
            ring=KeyRing.of(settings), environment=settings.environment, schedule=delivery_schedule(settings)
        )
        return cls(
            client=client,
            store=store,
            catalog=catalog,
            planner=planner,
            waits=waits,
            dev_projects=settings.dev_projects,
        )

    @activity.defn(name=names.ACQUIRE_JOB_LOCK)
    async def acquire_job_lock(self, input: JobLockInput) -> JobLockResult:
        """Acquire the lock of a Job for a JobRun, unless the Job allows several JobRuns at the same time.

        Raises:
            StoreError, RPCError: Repeating helps.
        """
        definition = await find_definition(self._store, input.project, input.job_id, input.definition)
        overlap = JobOverlap.SKIP if definition is None else definition.overlap
        if overlap is JobOverlap.ALLOW:
            return JobLockResult()
        return await self._locks.acquire(input, waits=overlap is JobOverlap.QUEUE)

    @activity.defn(name=names.RELEASE_JOB_LOCK)
    async def release_job_lock(self, input: JobLockInput) -> None:
        """Release the lock of a Job, if the JobRun holds it or waits for it. Raises RPCError."""
        await self._locks.release(input)

    @activity.defn(name=names.PREPARE_JOB_RUN)
    async def prepare_job_run(self, input: PrepareJobRunInput) -> JobRunPlan:
        """Return the plan of a JobRun, which is made and stored once.

        It pins the version of the project, and applies its defaults. The payload of a rerun is copied from the JobRun
        of which it is one.

        Raises:
            ApplicationError: Of type `AuthSessionNotFound` or `NotPrepared`: something that it needs is missing.
            StoreError, Unavailable: Repeating helps.
        """
        async with heartbeats(interval=SHORT_INTERVAL):
            plan = await self._read_plan(input.project, input.job_run_id)
            if plan is None:
                plan = await self._make_plan(input)
                key = object_keys.job_run_plan(plan.project, plan.job_run_id)
                await self._store.put(key, plan.model_dump_json().encode())
            return plan

    async def _make_plan(self, input: PrepareJobRunInput) -> JobRunPlan:
        """Return the plan of a JobRun, once the payload of a rerun is stored. Raises as `prepare_job_run` does."""
        definition = await find_definition(self._store, input.project, input.job_id, input.definition)
        if definition is None:
            raise _not_prepared(f"This definition of Job {input.job_id} is not in the artifact store any more.")
        manifest = await self._catalog.get_current(input.project)
        if manifest is None:
            raise _not_prepared(f"Project {input.project} is not deployed.")
        auth_session = await self._auth_session(definition, manifest)
        try:
            plan = self._planner.make_plan(definition, manifest, input.job_run_id, auth_session)
        except (SealError, ConfigurationError) as error:
            raise _not_prepared(error.message) from error
        if input.rerun is None or input.rerun.item_count is None:
            return plan
        earlier = await self._read_plan(input.project, input.rerun.job_run_id)
        if earlier is None:
            raise _not_prepared(f"The plan of JobRun {input.rerun.job_run_id} is not in the artifact store any more.")
        try:
            count = await copy_unfinished(self._store, earlier, input.rerun, for_job_run=input.job_run_id)
        except NotFound as error:
            raise _not_prepared(error.message) from error
        return plan.model_copy(update={"payload_count": count, "has_own_payload": True})

    @activity.defn(name=names.EXECUTE_JOB_ITEMS)
    async def execute_job_items(self, input: JobItemsInput) -> JobItemsResult:
        """Execute one piece of a JobRun; a cancel, or the worker's shutdown, only makes it end sooner.

        Raises:
            ApplicationError: Of type `NotPrepared`: something that the JobRun needs is missing.
            StoreError, RPCError: Repeating helps.
        """
        async with heartbeats(interval=SHORT_INTERVAL):  # The piece sends its own, to hear how it is to end.
            plan = await self._read_plan(input.project, input.job_run_id)
        if plan is None:
            raise _not_prepared(f"The plan of JobRun {input.job_run_id} is not in the artifact store any more.")
        runs = ItemRuns(
            plan,
            client=self._client,
            store=self._store,
            ring=self._planner.ring,
            waits=self._waits,
            dev_projects=self._dev_projects,
        )
        piece = Piece(input, plan, runs, self._store, try_number=activity.info().attempt)
        try:
            result = await _execute(piece)
        except (SealError, ConfigurationError) as error:
            raise _not_prepared(error.message) from error
        bad_login = await self._login_version(plan) if result.is_login_bad else None
        return result.model_copy(update={"bad_login": bad_login})

    @activity.defn(name=names.AWAIT_AUTH_SESSION)
    async def await_auth_session(self, input: AwaitAuthSessionInput) -> None:
        """Find that the AuthSession is good again: it has another login, and that is ready.

        Raises:
            ApplicationError: Of type `NotReady`: it is not, yet.
            Unavailable: Repeating helps.
        """
        auth_session = input.auth.ref.id
        try:
            view = await self._auth_sessions.get(input.workspace, input.project, auth_session)
        except NotFound as error:
            raise _not_ready(f"There is no AuthSession {auth_session!r} any more.") from error
        if view.status is not AuthSessionStatus.READY:
            raise _not_ready(f"AuthSession {auth_session!r} is {view.status}.")
        if view.login_version == input.bad_login:
            raise _not_ready(f"AuthSession {auth_session!r} has no other login yet.")

    async def _read_plan(self, project: str, job_run_id: str) -> JobRunPlan | None:
        """Return the plan of a JobRun; None if it has none. Raises StoreError."""
        data = await self._store.get(object_keys.job_run_plan(project, job_run_id))
        return None if data is None else JobRunPlan.model_validate_json(data)

    async def _auth_session(self, definition: JobDefinition, manifest: Manifest) -> AuthSessionView | None:
        """Return the AuthSession of the Job's Runs; None if the project, as it is deployed now, uses none."""
        if not manifest.settings.auth_sessions.enabled:
            return None
        if definition.auth is None:
            raise _not_prepared(
                f"Project {definition.project} logs in, and Job {definition.job_id} names no AuthSession. Update the"
                " Job with auth_session."
            )
        try:
            return await self._auth_sessions.get(definition.workspace, definition.project, definition.auth.id)
        except NotFound as error:
            raise ApplicationError(
                f"Project {definition.project} has no AuthSession {definition.auth.id!r}.",
                type=AUTH_SESSION_NOT_FOUND,
                non_retryable=True,
            ) from error

    async def _login_version(self, plan: JobRunPlan) -> int | None:
        """Return the version of the login that is not good; None if there is none."""
        if plan.auth is None:
            return None
        try:
            return (await self._auth_sessions.get(plan.workspace, plan.project, plan.auth.ref.id)).login_version
        except NotFound:
            return None


async def _execute(piece: Piece) -> JobItemsResult:
    """Execute a piece to its end, unless Temporal is about to give it to another worker, or has done so."""
    executing = asyncio.create_task(piece.execute(), name="execute a piece of a JobRun")

    def on_cancellation(details: ActivityCancellationDetails | None) -> None:
        if details is not None and (details.not_found or details.timed_out):
            executing.cancel()
        else:
            piece.stop()

    def on_silence(_why: str) -> None:
        executing.cancel()

    async def stop_at_shutdown() -> None:
        await activity.wait_for_worker_shutdown()
        piece.stop()

    async def execute() -> JobItemsResult:
        async with (
            heartbeats(on_cancellation, on_silence=on_silence, interval=SHORT_INTERVAL),
            background_task(stop_at_shutdown(), "stop a piece of a JobRun at the worker's shutdown"),
        ):
            await asyncio.wait({executing})
            if executing.cancelled():
                raise ApplicationError("Temporal has not recorded heartbeats of this piece; it is executed anew.")
            return executing.result()

    return await forward_cancellation(execute(), on_cancellation)


def _not_prepared(message: str) -> ApplicationError:
    return ApplicationError(message, type=NOT_PREPARED, non_retryable=True)


def _not_ready(message: str) -> ApplicationError:
    return ApplicationError(message, type=NOT_READY, category=ApplicationErrorCategory.BENIGN)
