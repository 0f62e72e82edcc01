"""What a request names, looked up before anything starts: a project, a version, an API, a Run, an AuthSession."""

from __future__ import annotations

from functools import partial
from typing import Annotated

from fastapi import Depends, Request

from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, no_such_project
from callboard.projects.manifest import Manifest
from callboard.projects.project_settings import is_project_name
from callboard.schemas.errors import BadRequest, Forbidden
from callboard.schemas.suggestion import did_you_mean
from callboard.security.apikeys import Caller
from callboard.storage import object_keys


async def require_project(request: Request, services: ServicesDep, caller: CallerDep, projectName: str) -> Manifest:
    """Return the manifest of the project's deployed version.

    The project is looked up again when the request's body has come: that may take minutes, and what a request adds to
    a project that was deleted meanwhile would be found by the next one of that name.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    request.state.check_after_body = partial(_find_project, services, caller, projectName)
    return await _find_project(services, caller, projectName)


async def _find_project(services: Services, caller: Caller, name: str) -> Manifest:
    manifest = await services.catalog.get_current(name)
    if manifest is None:
        seen = [other for other in await services.catalog.list_projects() if caller.sees(other)]
        raise no_such_project(name, did_you_mean(name, seen))
    return manifest


ProjectDep = Annotated[Manifest, Depends(require_project)]


async def _require_open_project(manifest: ProjectDep) -> Manifest:
    """Return the project, for requests that start something. Raises Forbidden if its API access is off."""
    if not manifest.settings.api_access.enabled:
        raise Forbidden(f"Project {manifest.project} is not open to this API (apiAccess.enabled is false).")
    return manifest


OpenProjectDep = Annotated[Manifest, Depends(_require_open_project)]


async def _require_auth_project(manifest: OpenProjectDep) -> Manifest:
    """Return the project, for requests that create or check a login. Raises BadRequest if it uses no AuthSessions."""
    if not manifest.settings.auth_sessions.enabled:
        raise BadRequest(f"Project {manifest.project} does not use AuthSessions (authSessions.enabled is false).")
    return manifest


AuthProjectDep = Annotated[Manifest, Depends(_require_auth_project)]


async def _require_stored_project(services: ServicesDep, projectName: str) -> str:
    """Return the name of a project of which anything is stored, also if no version of it is deployed.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    if is_project_name(projectName):
        if await services.catalog.get_current(projectName) is not None:
            return projectName
        async for _ in services.store.entries(object_keys.project(projectName)):
            return projectName
    raise no_such_project(projectName)


StoredProjectDep = Annotated[str, Depends(_require_stored_project)]


async def require_run(services: ServicesDep, projectName: str, runId: str) -> None:
    """Raise NotFound unless the project has this Run."""
    await services.runs.get_state(services.settings.workspace, projectName, runId)


RunDep = Annotated[None, Depends(require_run)]
"""The check for a Run, for endpoints where another check, such as that of a form, comes first."""
