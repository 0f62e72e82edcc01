"""The activity that applies the files of a project."""

from __future__ import annotations

import logging

from temporalio import activity
from temporalio.client import Client

from activities.file_resources import FileAuthSessions, FileJobs
from activities.heartbeat import SHORT_INTERVAL, heartbeats
from callboard.projects.job_definition import JobDefiner
from callboard.projects.manifest import read_current, read_manifest
from callboard.projects.resource_files import read_resources
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.resources import AppliedResources, ApplyResourcesInput
from callboard.security.egress import EgressPolicy
from callboard.security.keyring import KeyRing
from callboard.security.sealed_sinks import delivery_schedule
from callboard.settings import Settings
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.jobs import Jobs

log = logging.getLogger(__name__)


class ResourceActivities:
    """The activity `update_resources`, on the common task queue."""

    def __init__(self, store: Store, jobs: FileJobs, auth_sessions: FileAuthSessions) -> None:
        self._store = store
        self._jobs = jobs
        self._auth_sessions = auth_sessions

    @classmethod
    def of(cls, settings: Settings, client: Client, store: Store) -> ResourceActivities:
        """Return the activity of a worker with these settings. Raises ConfigurationError if one of them is wrong."""
        workspace, ring, egress = settings.workspace, KeyRing.of(settings), EgressPolicy(settings.egress_allow)
        definer = JobDefiner(workspace, store, ring, egress, delivery_schedule(settings))
        jobs = FileJobs(workspace=workspace, store=store, ring=ring, definer=definer, jobs=Jobs(client))
        auth_sessions = FileAuthSessions(
            workspace=workspace,
            environment=settings.environment,
            store=store,
            ring=ring,
            auth_sessions=AuthSessions(client),
        )
        return cls(store, jobs, auth_sessions)

    @activity.defn(name=names.UPDATE_RESOURCES)
    async def update_resources(self, input: ApplyResourcesInput) -> AppliedResources:
        """Make Jobs and AuthSessions agree with the files of what is deployed.

        If something else is deployed by then, its files are applied, too. So whichever of two workers is the last to
        write something, it does not leave an older version's files applied.

        Raises:
            CallboardError: Something does not answer; repeating helps when that is mended.
        """
        project = input.project
        async with heartbeats(interval=SHORT_INTERVAL):
            current = await read_current(self._store, project)
            while current is not None:
                applied = await self._apply(project, current.version)
                before, current = current, await read_current(self._store, project)
                if current == before:
                    return applied
        return AppliedResources()

    async def _apply(self, project: str, version: str) -> AppliedResources:
        manifest = await read_manifest(self._store, project, version)
        if manifest is None:
            raise StoreError(
                f"Version {version} of project {project!r} is deployed, but its manifest is not in the artifact store. "
                "Deploy the project again."
            )
        resources = await read_resources(self._store, project, version)
        applied = AppliedResources(
            version=version,
            auth_sessions=await self._auth_sessions.apply(manifest, resources.auth_sessions),
            jobs=await self._jobs.apply(manifest, resources.jobs),
        )
        for sentence in (*applied.auth_sessions.refused, *applied.jobs.refused):
            log.warning("Project %s: %s", project, sentence)
        return applied
