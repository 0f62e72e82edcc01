"""Make the Jobs of a project agree with its files: created, updated when a file has changed, removed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime

from jobs.definition import JobDefiner, checked_items, discard_definition
from projects.manifest import Manifest
from projects.resources import JobFile
from schemas.errors import BadRequest, CallboardError, ConfigurationError, Conflict, NotFound, Unavailable
from schemas.rest.jobs import UpdateJob
from schemas.workflow.job import JobDefinition, JobRef, JobSource
from schemas.workflow.resources import ResourceChanges
from security.keyring import KeyRing
from storage.store import Store
from temporal.jobs import Jobs


class FileJobs:
    """The Jobs of files. Those that came by a request are left as they are."""

    def __init__(self, *, workspace: str, store: Store, ring: KeyRing, definer: JobDefiner, jobs: Jobs) -> None:
        """Set up without reading anything yet.

        Args:
            workspace: The workspace that they belong to.
            store: The artifact store.
            ring: The keys that tell by a keyed hash whether a file has changed.
            definer: Checks and stores definitions of Jobs.
            jobs: The Jobs in Temporal.
        """
        self._workspace = workspace
        self._store = store
        self._ring = ring
        self._definer = definer
        self._jobs = jobs

    async def apply(self, manifest: Manifest, files: Sequence[JobFile]) -> ResourceChanges:
        """Make all changes that are needed.

        Raises:
            CallboardError: Something does not answer, or cannot be sealed; repeating helps when that is mended.
        """
        created: list[str] = []
        updated: list[str] = []
        refused: list[str] = []
        for file in files:
            fingerprints = self._fingerprints(manifest.project, file)
            try:
                if (ref := await self._find(manifest.project, file.id)) is None:
                    await self._create(manifest, file, fingerprints[0])
                    created.append(file.id)
                elif ref.source is not JobSource.CODE:
                    raise _taken(file)
                elif ref.digest not in fingerprints:
                    await self._update(manifest, file, fingerprints[0])
                    updated.append(file.id)
            except Conflict as error:
                refused.append(error.message)
            except BadRequest as error:
                refused.append(f"{file.file}: {error.message}")
        removed = await self._remove_others(manifest.project, {file.id for file in files})
        return ResourceChanges(
            created=tuple(created), updated=tuple(updated), removed=tuple(removed), refused=tuple(refused)
        )

    async def _remove_others(self, project: str, kept: set[str]) -> list[str]:
        removed: list[str] = []
        for state in await self._jobs.list_all(self._workspace, project):
            job_id = state.ref.job_id
            if state.ref.source is not JobSource.CODE or job_id in kept:
                continue
            try:
                await self._jobs.delete(self._workspace, project, job_id, source=JobSource.CODE)
            except NotFound:
                continue  # Another worker has removed it.
            removed.append(job_id)
        return removed

    async def _create(self, manifest: Manifest, file: JobFile, digest: str) -> None:
        definition = await self._define(manifest, file, digest)
        ref = JobRef(
            workspace=self._workspace,
            project=manifest.project,
            job_id=file.id,
            definition=definition.ref,
            source=JobSource.CODE,
            created_at=datetime.now(UTC),
            digest=digest,
        )
        try:
            await self._jobs.create(ref, definition.schedule)
        except Conflict as error:
            await self._discard(definition)
            raise _taken(file) from error
        except CallboardError as error:
            await self._discard_unless_unknown(definition, error)
            raise

    async def _update(self, manifest: Manifest, file: JobFile, digest: str) -> None:
        definition = await self._define(manifest, file, digest)
        try:
            await self._jobs.update(
                self._workspace,
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
        return await self._definer.define(manifest, file.id, job, items, digest=digest)

    async def _discard_unless_unknown(self, definition: JobDefinition, error: CallboardError) -> None:
        """Delete a definition that no Job has; if Temporal did not answer, a Job may have it."""
        if not isinstance(error, Unavailable):
            await self._discard(definition)

    async def _discard(self, definition: JobDefinition) -> None:
        await discard_definition(self._store, definition.project, definition.job_id, definition.ref)

    async def _find(self, project: str, job_id: str) -> JobRef | None:
        try:
            return (await self._jobs.get(self._workspace, project, job_id)).ref
        except NotFound:
            return None

    def _fingerprints(self, project: str, file: JobFile) -> list[str]:
        """Return the keyed hashes of a file, the one by the newest key first. A file may have secrets in it."""
        text = json.dumps(file.body, sort_keys=True, separators=(",", ":")).encode()
        found = self._ring.fingerprints(text, bound_to=f"job file {self._workspace}/{project}/{file.id}")
        if not found:
            raise ConfigurationError(
                "CALLBOARD_SECRET_KEY is not set, and files of Jobs need it. "
                "Set it to 16 or more random characters, the same for every api and worker."
            )
        return found


def _taken(file: JobFile) -> Conflict:
    return Conflict(
        f"{file.file}: there is a Job {file.id!r} that was created by a request. Delete that one, or rename the file, "
        "and deploy the project again."
    )
