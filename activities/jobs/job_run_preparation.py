"""Prepare a JobRun: pin the version of the project, apply its defaults, and store the plan that results."""

from __future__ import annotations

from temporalio.client import Client
from temporalio.exceptions import ApplicationError

from activities.jobs.job_planner import JobPlanner
from activities.jobs.job_run_plans import read_plan, write_plan
from projects.catalog import Catalog
from projects.job_definition import find_definition
from projects.manifest import Manifest
from schemas.errors import ConfigurationError, NotFound, SealError
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.job import JobDefinition
from schemas.workflow.job_activities import AUTH_SESSION_NOT_FOUND, NOT_PREPARED, PrepareJobRunInput
from schemas.workflow.job_run import JobRunPlan
from storage.store import Store
from temporal.auth_sessions import AuthSessions


class JobRunPreparation:
    """Prepares JobRuns."""

    def __init__(self, *, client: Client, store: Store, catalog: Catalog, planner: JobPlanner) -> None:
        self._auth_sessions = AuthSessions(client)
        self._store = store
        self._catalog = catalog
        self._planner = planner

    async def prepare(self, input: PrepareJobRunInput) -> JobRunPlan:
        """Return the plan of a JobRun, which is made and stored once.

        Raises:
            ApplicationError: Of type `AuthSessionNotFound` or `NotPrepared`: something that it needs is missing.
            StoreError, Unavailable: Repeating helps.
        """
        plan = await read_plan(self._store, input.project, input.job_run_id)
        if plan is not None:
            return plan
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
        await write_plan(self._store, plan)
        return plan

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


def _not_prepared(message: str) -> ApplicationError:
    return ApplicationError(message, type=NOT_PREPARED, non_retryable=True)
