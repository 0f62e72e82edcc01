"""What a start names, looked up before anything starts: a version, the parameters of an API, an AuthSession."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from callboard.projects.manifest import Manifest, is_version, read_manifest
from callboard.projects.parameter_check import wrong_parameters
from callboard.schemas.errors import NotFound
from callboard.schemas.rest.field_errors import errors_at
from callboard.schemas.rest.run_auth_session import is_auth_session_id
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.base import clip
from callboard.starts.services import StartServices

_CHECKS = ThreadPoolExecutor(1, "parameter-check")
"""Where parameters are checked, one request after the other: many checks at once would slow down all other requests."""


async def read_version(services: StartServices, project: str, version: str) -> Manifest:
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
    services: StartServices, manifest: Manifest, api: str, parameters: dict[str, Any], *path: str | int
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


async def find_auth_session(services: StartServices, project: str, auth_session_id: str) -> AuthSessionView | None:
    """Return the project's AuthSession with this id, or None if there is none. Raises Unavailable."""
    try:
        return await services.auth_sessions.get(services.settings.workspace, project, auth_session_id)
    except NotFound:
        return None


async def require_auth_session(
    services: StartServices, project: str, auth_session_id: str, path: str | None = None
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
