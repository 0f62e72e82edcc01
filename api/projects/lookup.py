"""Lookup of the project that a request names, and of what the request needs of it."""

from __future__ import annotations

from api.dependencies import Services
from projects.manifest import Manifest
from schemas.errors import BadRequest, Forbidden, NotFound
from schemas.suggestion import did_you_mean
from schemas.workflow.base import clip


async def require_project(services: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await services.catalog.get_current(project)
    if manifest is None:
        hint = did_you_mean(project, await services.catalog.list_projects())  # Whoever has a key may list them all.
        raise NotFound(f"There is no project {clip(project, 100)!r} deployed here.{hint}")
    return manifest


async def require_open_project(services: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version, for requests that start something.

    Raises:
        Forbidden: The project's API access is off.
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await require_project(services, project)
    if not manifest.settings.api_access.enabled:
        raise Forbidden(f"Project {project} is not open to this API (apiAccess.enabled is false).")
    return manifest


async def require_auth_project(services: Services, project: str) -> Manifest:
    """Return the manifest of the project's deployed version, for requests that create or check a login.

    Raises:
        BadRequest: The project uses no AuthSessions.
        Forbidden: The project's API access is off.
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    manifest = await require_open_project(services, project)
    if not manifest.settings.auth_sessions.enabled:
        raise BadRequest(f"Project {project} does not use AuthSessions (authSessions.enabled is false).")
    return manifest
