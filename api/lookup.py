"""What a request names, looked up before anything starts: a project, a version, an API, a Run, an AuthSession."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Annotated, Any

from fastapi import Depends, Request

from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, no_such_project
from callboard.projects.manifest import Manifest, is_version, read_manifest
from callboard.projects.parameter_check import wrong_parameters
from callboard.projects.project_settings import is_project_name
from callboard.schemas.errors import BadRequest, Forbidden, NotFound
from callboard.schemas.rest.field_errors import errors_at
from callboard.schemas.rest.run_auth_session import is_auth_session_id
from callboard.schemas.suggestion import did_you_mean
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.base import clip
from callboard.security.apikeys import Caller
from callboard.storage import object_keys

_CHECKS = ThreadPoolExecutor(1, "parameter-check")
"""Where parameters are checked, one request after the other: many checks at once would slow down all other requests."""


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


async def read_version(services: Services, project: str, version: str) -> Manifest:
    """Return the manifest of a version that is stored now, as one that is not used may go at any time.

    Raises:
        NotFound: The project has no such version.
        StoreError: The store failed.
    """
    manifest = await read_manifest(services.store, project, version) if is_version(version) else None
    if manifest is None:
        message = f"Project {project} has no version {clip(version, 100)!r}."
        raise NotFound(message, details={"path": "version"})
    return manifest


async def check_parameters(
    services: Services, manifest: Manifest, api: str, parameters: dict[str, Any], *path: str | int
) -> None:
    """Check parameters, if their API has a schema.

    Args:
        services: The services of the request.
        manifest: The version whose API they are for.
        api: The API.
        parameters: The parameters.
        path: Where they are in the body of the request, for the error.

    Raises:
        BadRequest: They are not what the schema says.
        StoreError: The store failed.
    """
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(api).input_schema
    if schema is None:
        return
    wrong = await asyncio.get_running_loop().run_in_executor(_CHECKS, wrong_parameters, schema, parameters)
    if wrong:
        raise errors_at([((*path, *each.path), each.expected) for each in wrong])


async def require_run(services: ServicesDep, projectName: str, runId: str) -> None:
    """Raise NotFound unless the project has this Run."""
    await services.runs.get_state(services.settings.workspace, projectName, runId)


RunDep = Annotated[None, Depends(require_run)]
"""The check for a Run, for endpoints where another check, such as that of a form, comes first."""


async def find_auth_session(services: Services, project: str, auth_session_id: str) -> AuthSessionView | None:
    """Return the project's AuthSession with this id, or None if there is none. Raises Unavailable."""
    try:
        return await services.auth_sessions.get(services.settings.workspace, project, auth_session_id)
    except NotFound:
        return None


async def require_auth_session(
    services: Services, project: str, auth_session_id: str, path: str | None = None
) -> AuthSessionView:
    """Return the project's AuthSession with this id.

    Args:
        services: The services of the request.
        project: The name of the project.
        auth_session_id: The id as the request has it.
        path: The path of the body's field that has the id; None if the id is part of the URL.

    Raises:
        NotFound: There is no such AuthSession.
        Unavailable: Temporal does not answer.
    """
    # Other names are those of AuthSessions that live for a single Run, or of nothing at all.
    view = await find_auth_session(services, project, auth_session_id) if is_auth_session_id(auth_session_id) else None
    if view is not None:
        return view
    details = None if path is None else {"path": path}
    raise NotFound(f"Project {project} has no AuthSession {clip(auth_session_id, 100)!r}.", details=details)
