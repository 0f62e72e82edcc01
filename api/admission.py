"""What a request is let through to: the workspace, a project (deployed, open, one that logs in), an AuthSession."""

from __future__ import annotations

from uuid import UUID

from fastapi.security import APIKeyHeader

from api.boundary import KEY_HEADER
from api.parts import Parts, PartsDep
from contract.errors import BadRequest, Forbidden, NotFound
from contract.flow.auth_session import AuthSessionView
from contract.flow.base import clip
from contract.rest.auth_session import is_auth_session_id
from projects.manifest import Manifest

key_header = APIKeyHeader(name=KEY_HEADER, auto_error=False)
"""For the OpenAPI page. The key itself is checked at the boundary, before any route is looked for."""


async def in_workspace(parts: PartsDep, workspaceId: str) -> None:  # noqa: N803 - the contract's name
    """Raises NotFound unless it is the workspace that is served here."""
    try:
        given = UUID(workspaceId)
    except ValueError:
        given = None
    if given != parts.settings.workspace_id:
        raise NotFound("There is no such workspace.")


async def deployed(parts: Parts, project: str) -> Manifest:
    """The project's deployed version.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await parts.catalog.current(project)
    if manifest is None:
        raise NotFound(f"There is no project {clip(project, 100)!r} deployed here.")
    return manifest


async def opened(parts: Parts, project: str) -> Manifest:
    """The same, for what starts something.

    Raises:
        Forbidden: The project's API access is off. And as `deployed`.
    """
    manifest = await deployed(parts, project)
    if not manifest.settings.api_access.enabled:
        raise Forbidden(f"Project {project} is not open to this API (apiAccess.enabled is false).")
    return manifest


async def logging_in(parts: Parts, project: str) -> Manifest:
    """The same, for what makes or checks a login.

    Raises:
        BadRequest: The project uses no AuthSessions. And as `opened`.
    """
    manifest = await opened(parts, project)
    if not manifest.settings.auth_sessions.enabled:
        raise BadRequest(f"Project {project} does not use AuthSessions (authSessions.enabled is false).")
    return manifest


async def auth_session(parts: Parts, project: str, given: str, path: str | None = None) -> AuthSessionView:
    """The project's AuthSession with the id that was given, in the body's field `path` or in the request's own path.

    Raises:
        NotFound: There is none.
        Unavailable: Temporal does not answer.
    """
    # Other names stand for AuthSessions that live for a single Run, and for nothing.
    if is_auth_session_id(given):
        try:
            return await parts.auth_sessions.view(parts.settings.workspace, project, given)
        except NotFound:
            pass
    details = None if path is None else {"path": path}
    raise NotFound(f"Project {project} has no AuthSession {clip(given, 100)!r}.", details=details)
