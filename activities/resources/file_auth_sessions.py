"""The AuthSessions that are files of a project."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, override
from uuid import uuid4

from activities.resources.file_resources import FileResources
from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import Environment
from callboard.projects.resources import AuthSessionFile
from callboard.schemas.errors import Conflict, NotFound, Unavailable
from callboard.schemas.rest.auth_sessions import UpdateAuthSession
from callboard.schemas.workflow.auth import AuthSessionRef, AuthSessionStatus, AuthSessionType
from callboard.schemas.workflow.auth_session import AuthSessionInput, AuthSessionView, LoginSpec
from callboard.schemas.workflow.run import RunType
from callboard.schemas.workflow.trace import TraceMode
from callboard.security import seal_context
from callboard.security.keyring import KeyRing
from callboard.security.sealed_proxies import seal_proxy
from callboard.storage import keys
from callboard.storage.store import Store
from callboard.temporal.auth_sessions import AuthSessions


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
        await self._store_parameters(manifest.project, file, spec)
        try:
            await self.auth_sessions.create(created)
        except Conflict as error:
            await self.store.delete(spec.parameters_key)
            raise self._taken(file) from error

    @override
    async def _update(self, manifest: Manifest, file: AuthSessionFile, found: AuthSessionView) -> None:
        spec = self._login_spec(manifest, file, RunType.AUTH_SESSION_UPDATE)
        await self._store_parameters(manifest.project, file, spec)
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
            parameters_key=keys.auth_session_parameters(manifest.project, file.id, run_id),
            create_attempts=request.create_attempts,
            check_attempts=request.check_attempts,
            request_timeout=timedelta(seconds=request.request_timeout),
            trace=TraceMode.of(request.save_trace),
            proxy=proxy,
        )

    async def _store_parameters(self, project: str, file: AuthSessionFile, spec: LoginSpec) -> None:
        text = json.dumps(file.parameters, separators=(",", ":"))
        sealed = self.ring.seal(text, bound_to=self._owner(project, file.id))
        await self.store.put(spec.parameters_key, sealed.encode("ascii"))

    async def _current_parameters(self, project: str, view: AuthSessionView) -> Any:
        """Return the parameters of the login that is being made, else those of the current one."""
        pending = view.pending_run_id and keys.auth_session_parameters(project, view.id, view.pending_run_id)
        for key in (pending, view.parameters_key):
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
