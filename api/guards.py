"""Checks of what a request names: the workspace, a project (deployed, open, with AuthSessions), an AuthSession."""

from __future__ import annotations

from uuid import UUID

from fastapi.security import APIKeyHeader

from api.dependencies import Services, ServicesDep
from api.http.middleware import KEY_HEADER
from projects.manifest import Manifest
from schemas.errors import BadRequest, Forbidden, NotFound
from schemas.rest.auth_session import is_auth_session_id
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.base import clip

key_header = APIKeyHeader(name=KEY_HEADER, auto_error=False)
"""Description of the key for the OpenAPI page. `api.http.middleware` checks the key before a route is looked up."""


async def in_workspace(parts: ServicesDep, workspaceId: str) -> None:  # noqa: N803 - the contract's name
    """Raise NotFound unless the path names the workspace that is served here."""
    try:
        given = UUID(workspaceId)
    except ValueError:
        given = None
    if given != parts.settings.workspace_id:
        raise NotFound("There is no such workspace.")


async def require_project(parts: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await parts.catalog.current(project)
    if manifest is None:
        raise NotFound(f"There is no project {clip(project, 100)!r} deployed here.")
    return manifest


async def require_open_project(parts: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version, for requests that start something.

    Raises:
        Forbidden: The project's API access is off.
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await require_project(parts, project)
    if not manifest.settings.api_access.enabled:
        raise Forbidden(f"Project {project} is not open to this API (apiAccess.enabled is false).")
    return manifest


async def require_auth_project(parts: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version, for requests that make or check a login.

    Raises:
        BadRequest: The project uses no AuthSessions.
        Forbidden: The project's API access is off.
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await require_open_project(parts, project)
    if not manifest.settings.auth_sessions.enabled:
        raise BadRequest(f"Project {project} does not use AuthSessions (authSessions.enabled is false).")
    return manifest


async def auth_session(parts: Services, project: str, given: str, path: str | None = None) -> AuthSessionView:
    """Return the project's AuthSession with the id `given`.

    The id was given in the body's field `path`, or in the URL if `path` is None.

    Raises:
        NotFound: There is no such AuthSession.
        Unavailable: Temporal does not answer.
    """
    # Other names are those of AuthSessions that live for a single Run, or of nothing at all.
    if is_auth_session_id(given):
        try:
            return await parts.auth_sessions.view(parts.settings.workspace, project, given)
        except NotFound:
            pass
    details = None if path is None else {"path": path}
    raise NotFound(f"Project {project} has no AuthSession {clip(given, 100)!r}.", details=details)
