"""Apply the files of the version of a project that is deployed now."""

from __future__ import annotations

import logging

from activities.resources.file_auth_sessions import FileAuthSessions
from activities.resources.file_jobs import FileJobs
from projects.manifest import read_current, read_manifest
from projects.resources import read_resources
from schemas.errors import StoreError
from schemas.workflow.resources import AppliedResources
from storage.store import Store

log = logging.getLogger(__name__)


class ResourceApplier:
    """Makes Jobs and AuthSessions agree with the files of projects."""

    def __init__(self, store: Store, jobs: FileJobs, auth_sessions: FileAuthSessions) -> None:
        self._store = store
        self._jobs = jobs
        self._auth_sessions = auth_sessions

    async def apply(self, project: str) -> AppliedResources:
        """Apply the files of what is deployed, and again if something else is deployed by then.

        So whichever of two appliers is the last to write something, it does not leave an older version's files applied.

        Raises:
            CallboardError: Something does not answer; repeating helps when that is mended.
        """
        current = await read_current(self._store, project)
        while current is not None:
            manifest = await read_manifest(self._store, project, current.version)
            if manifest is None:
                raise StoreError(
                    f"Version {current.version} of project {project!r} is deployed, but its manifest is not in the "
                    "artifact store. Deploy the project again."
                )
            resources = await read_resources(self._store, project, current.version)
            applied = AppliedResources(
                version=current.version,
                auth_sessions=await self._auth_sessions.apply(manifest, resources.auth_sessions),
                jobs=await self._jobs.apply(manifest, resources.jobs),
            )
            for sentence in (*applied.auth_sessions.refused, *applied.jobs.refused):
                log.warning("Project %s: %s", project, sentence)
            before, current = current, await read_current(self._store, project)
            if current == before:
                return applied
        return AppliedResources()
