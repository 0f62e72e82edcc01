"""The Jobs that are files of a project."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import override

from activities.resources.file_resources import FileResources
from callboard.projects.job_definition import JobDefiner, checked_items, discard_definition
from callboard.projects.manifest import Manifest
from callboard.projects.resources import JobFile
from callboard.schemas.errors import CallboardError, ConfigurationError, Conflict, NotFound, Unavailable
from callboard.schemas.rest.jobs import UpdateJob
from callboard.schemas.workflow.job import JobDefinition, JobRef, JobSource
from callboard.security.keyring import KeyRing
from callboard.storage.store import Store
from callboard.temporal.jobs import Jobs


@dataclass(frozen=True, kw_only=True)
class FileJobs(FileResources[JobFile, JobRef]):
    """The Jobs of files."""

    kind = "a Job"

    workspace: str
    """The workspace that they belong to."""
    store: Store
    ring: KeyRing
    """The keys that tell by a keyed hash whether a file has changed."""
    definer: JobDefiner
    jobs: Jobs

    @override
    async def _create(self, manifest: Manifest, file: JobFile) -> None:
        digest = self._fingerprints(manifest.project, file)[0]
        definition = await self._define(manifest, file, digest)
        ref = JobRef(
            workspace=self.workspace,
            project=manifest.project,
            job_id=file.id,
            definition=definition.ref,
            source=JobSource.CODE,
            created_at=datetime.now(UTC),
            digest=digest,
        )
        try:
            await self.jobs.create(ref, definition.schedule)
        except Conflict as error:
            await self._discard(definition)
            raise self._taken(file) from error
        except CallboardError as error:
            await self._discard_unless_unknown(definition, error)
            raise

    @override
    async def _update(self, manifest: Manifest, file: JobFile, found: JobRef) -> None:
        digest = self._fingerprints(manifest.project, file)[0]
        definition = await self._define(manifest, file, digest)
        try:
            await self.jobs.update(
                self.workspace,
                manifest.project,
                file.id,
                definition.ref,
                definition.schedule,
                source=JobSource.CODE,
                digest=digest,
            )
        except CallboardError as error:
            await self._discard_unless_unknown(definition, error)
            raise

    async def _define(self, manifest: Manifest, file: JobFile, digest: str) -> JobDefinition:
        job = UpdateJob.model_validate(file.body)
        items = checked_items(manifest, job.payload)
        return await self.definer.define(manifest, file.id, job, items, digest=digest)

    async def _discard_unless_unknown(self, definition: JobDefinition, error: CallboardError) -> None:
        """Delete a definition that no Job has; if Temporal did not answer, a Job may have it."""
        if not isinstance(error, Unavailable):
            await self._discard(definition)

    async def _discard(self, definition: JobDefinition) -> None:
        await discard_definition(self.store, definition.project, definition.job_id, definition.ref)

    @override
    async def _find(self, project: str, resource_id: str) -> JobRef | None:
        try:
            return (await self.jobs.get(self.workspace, project, resource_id)).ref
        except NotFound:
            return None

    @override
    async def _list_from_files(self, project: str) -> list[str]:
        jobs = [state.ref for state in await self.jobs.list_all(self.workspace, project)]
        return [job.job_id for job in jobs if self._is_from_file(job)]

    @override
    def _is_from_file(self, found: JobRef) -> bool:
        return found.source is JobSource.CODE

    @override
    async def _has_changed(self, project: str, file: JobFile, found: JobRef) -> bool:
        return found.digest not in self._fingerprints(project, file)

    @override
    async def _delete(self, project: str, resource_id: str) -> None:
        await self.jobs.delete(self.workspace, project, resource_id, source=JobSource.CODE)

    def _fingerprints(self, project: str, file: JobFile) -> list[str]:
        """Return the keyed hashes of a file, the one by the newest key first. A file may have secrets in it."""
        text = json.dumps(file.body, sort_keys=True, separators=(",", ":")).encode()
        found = self.ring.fingerprints(text, bound_to=f"job file {self.workspace}/{project}/{file.id}")
        if not found:
            raise ConfigurationError(
                "CALLBOARD_SECRET_KEY is not set, and files of Jobs need it. "
                "Set it to 16 or more random characters, the same for every api and worker."
            )
        return found
