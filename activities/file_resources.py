"""Make the Jobs and AuthSessions of a project agree with its files: created, updated or removed as these say."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, override
from uuid import uuid4

from callboard.projects.job_definition import JobDefiner, checked_items, discard_definition
from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import Environment
from callboard.projects.resource_files import AuthSessionFile, JobFile
from callboard.schemas.errors import (
    BadRequest,
    CallboardError,
    ConfigurationError,
    Conflict,
    NotFound,
    Unavailable,
)
from callboard.schemas.rest.auth_sessions import UpdateAuthSession
from callboard.schemas.rest.jobs import UpdateJob
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec
from callboard.schemas.workflow.job import JobDefinition, JobRef, JobSource
from callboard.schemas.workflow.resources import ResourceChanges
from callboard.schemas.workflow.run import RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import seal_proxy
from callboard.storage import object_keys
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions
from callboard.temporal.jobs import Jobs


class FileResources[File: (JobFile, AuthSessionFile), Found](ABC):
    """The resources of one kind, whose present state is a `Found`. Those that came by a request stay as they are."""

    kind: str
    """What one of them is called, with its article: `a Job`."""

    async def apply(self, manifest: Manifest, files: Sequence[File]) -> ResourceChanges:
        """Make all changes that are needed.

        Raises:
            CallboardError: Something does not answer, or cannot be sealed; repeating helps when that is mended.
        """
        created: list[str] = []
        updated: list[str] = []
        refused: list[str] = []
        for file in files:
            try:
                if (found := await self._find(manifest.project, file.id)) is None:
                    await self._create(manifest, file)
                    created.append(file.id)
                elif not self._is_from_file(found):
                    raise self._taken(file)
                elif await self._has_changed(manifest.project, file, found):
                    await self._update(manifest, file, found)
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
        for resource_id in await self._list_from_files(project):
            if resource_id in kept:
                continue
            try:
                await self._delete(project, resource_id)
            except NotFound:
                continue  # Another worker has removed it, or it could not be created.
            removed.append(resource_id)
        return removed

    def _taken(self, file: File) -> Conflict:
        return Conflict(
            f"{file.file}: there is {self.kind} {file.id!r} that was created by a request. Delete that one, or rename "
            "the file, and deploy the project again."
        )

    @abstractmethod
    async def _find(self, project: str, resource_id: str) -> Found | None:
        """Return a resource as it is now; None if there is none."""

    @abstractmethod
    async def _list_from_files(self, project: str) -> Sequence[str]:
        """Return the ids of all of the project's resources of this kind that were created by files."""

    @abstractmethod
    def _is_from_file(self, found: Found) -> bool:
        """Tell whether a resource was created by a file."""

    @abstractmethod
    async def _has_changed(self, project: str, file: File, found: Found) -> bool:
        """Tell whether the file says something else than what the resource was made of."""

    @abstractmethod
    async def _create(self, manifest: Manifest, file: File) -> None:
        """Create the resource of a file. Raises Conflict if there is one by now."""

    @abstractmethod
    async def _update(self, manifest: Manifest, file: File, found: Found) -> None:
        """Make a resource what its file says."""

    @abstractmethod
    async def _delete(self, project: str, resource_id: str) -> None:
        """Delete a resource. Raises NotFound."""


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
        items = checked_items(manifest, job, job.payload)
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


@dataclass(frozen=True, kw_only=True)
class FileAuthSessions(FileResources[AuthSessionFile, AuthSessionView]):
    """The AuthSessions of files. Nobody waits here until their logins are made."""

    kind = "an AuthSession"

    workspace: str
    """The workspace that they belong to."""
    environment: Environment
    """Where projects run, which decides about their proxies."""
    store: Store
    ring: KeyRing
    auth_sessions: AuthSessions

    @override
    async def _create(self, manifest: Manifest, file: AuthSessionFile) -> None:
        now = datetime.now(UTC)
        spec = self._login_spec(manifest, file, RunType.AUTH_SESSION_CREATE)
        created = AuthSessionInput(
            workspace=self.workspace,
            project=manifest.project,
            ref=AuthSessionRef(id=file.id, type=AuthSessionType.CREDENTIALS, owner=file.id),
            view=AuthSessionView(
                id=file.id,
                type=AuthSessionType.CREDENTIALS,
                status=AuthSessionStatus.PENDING,
                created_at=now,
                updated_at=now,
                from_file=True,
            ),
            create=spec,
        )
        key = await self._store_parameters(manifest.project, file, spec.run_id)
        try:
            await self.auth_sessions.create(created)
        except Conflict as error:
            await self.store.delete(key)
            raise self._taken(file) from error

    @override
    async def _update(self, manifest: Manifest, file: AuthSessionFile, found: AuthSessionView) -> None:
        spec = self._login_spec(manifest, file, RunType.AUTH_SESSION_UPDATE)
        await self._store_parameters(manifest.project, file, spec.run_id)
        await self.auth_sessions.update(self.workspace, manifest.project, found.id, spec)

    def _login_spec(self, manifest: Manifest, file: AuthSessionFile, run_type: RunType) -> LoginSpec:
        request = UpdateAuthSession(parameters=file.parameters)
        run_id, url = uuid4().hex, manifest.settings.proxy_in(self.environment)
        proxy = (
            None
            if url is None
            else seal_proxy(url, self.ring, workspace=self.workspace, project=manifest.project, owner=run_id)
        )
        return LoginSpec(
            run_id=run_id,
            type=run_type,
            version=manifest.version,
            parameters_key=object_keys.auth_session_parameters(manifest.project, file.id, run_id),
            create_attempts=request.create_attempts,
            check_attempts=request.check_attempts,
            request_timeout=timedelta(seconds=request.request_timeout),
            trace=TraceMode.of(request.save_trace),
            proxy=proxy,
        )

    async def _store_parameters(self, project: str, file: AuthSessionFile, run_id: str) -> str:
        key = object_keys.auth_session_parameters(project, file.id, run_id)
        text = json.dumps(file.parameters, separators=(",", ":"))
        sealed = self.ring.seal(text, bound_to=self._owner(project, file.id))
        await self.store.put(key, sealed.encode("ascii"))
        return key

    async def _current_parameters(self, project: str, view: AuthSessionView) -> Any:
        """Return the parameters of the last Update, if there is one that waits or runs, else those of the login."""
        pending = view.pending_run_id and object_keys.auth_session_parameters(project, view.id, view.pending_run_id)
        for key in (view.lease.parameters_key, pending, view.parameters_key):
            if key is not None and (sealed := await self.store.get(key)) is not None:
                return json.loads(self.ring.open(sealed.decode("ascii"), bound_to=self._owner(project, view.id)))
        raise Unavailable(f"AuthSession {view.id} of project {project} is just being created.")

    @override
    async def _find(self, project: str, resource_id: str) -> AuthSessionView | None:
        try:
            return await self.auth_sessions.get(self.workspace, project, resource_id)
        except NotFound:
            return None

    @override
    async def _list_from_files(self, project: str) -> list[str]:
        views = await self.auth_sessions.list_all(self.workspace, project)
        return [view.id for view in views if view.from_file]

    @override
    def _is_from_file(self, found: AuthSessionView) -> bool:
        return found.from_file

    @override
    async def _has_changed(self, project: str, file: AuthSessionFile, found: AuthSessionView) -> bool:
        return await self._current_parameters(project, found) != file.parameters

    @override
    async def _delete(self, project: str, resource_id: str) -> None:
        await self.auth_sessions.delete(self.workspace, project, resource_id)

    def _owner(self, project: str, auth_session_id: str) -> str:
        return seal_context.auth_session(self.workspace, project, auth_session_id)
