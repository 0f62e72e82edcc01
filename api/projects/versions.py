"""The versions of a project: their list, what differs between two, and which one is deployed."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends

from api.dependencies import Services, ServicesDep
from api.http.access import no_such_project
from api.http.cursors import decode_cursor, encode_cursor
from projects import version_history
from projects.manifest import Manifest, is_version, read_manifest
from projects.project_settings import is_project_name
from schemas.errors import NotFound, Unavailable
from schemas.rest.field_errors import field_error
from schemas.rest.versions import VersionBody, VersionChanges, VersionList, VersionsQuery
from schemas.workflow.base import clip
from schemas.workflow.project_changes import DeleteProjectInput, MovePointerInput, PointerAction
from storage import keys
from telemetry.log_context import add_log_fields


async def require_stored_project(services: ServicesDep, projectName: str) -> str:
    """Return the name of a project of which anything is stored, also if no version of it is deployed.

    Raises:
        NotFound: There is no such project.
        StoreError: The store failed.
    """
    if is_project_name(projectName):
        if await services.catalog.get_current(projectName) is not None:
            return projectName
        async for _ in services.store.entries(keys.project(projectName)):
            return projectName
    raise no_such_project(projectName)


StoredProjectDep = Annotated[str, Depends(require_stored_project)]


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


async def list_page(services: Services, project: str, query: VersionsQuery) -> VersionList:
    """Return a page of versions, the one that was deployed last first.

    Raises:
        BadRequest: The cursor does not belong to this list.
        StoreError: The store failed.
    """
    list_id = f"versions of {project}"
    versions = await version_history.list_versions(services.store, project)
    if query.cursor is not None:
        after = decode_cursor(query.cursor, list_id).decode()
        versions = [each for each in versions if _position(each) < after]
    page, rest = versions[: query.limit], versions[query.limit :]
    return VersionList(
        versions=await version_history.read_details(services.store, project, page),
        next_cursor=encode_cursor(_position(page[-1]).encode(), list_id) if rest else None,
    )


def _position(version: version_history.StoredVersion) -> str:
    """Return a text that sorts as versions do: by their time, and then by their name."""
    return f"{version.at.timestamp():020.6f} {version.version}"


async def read_changes(services: Services, project: str, version: str, since: str | None) -> VersionChanges:
    """Return in which files a version differs from another one; None: from the deployed one.

    Raises:
        NotFound: There is no such version, or none is deployed.
        StoreError: The store failed.
    """
    await read_version(services, project, version)
    if since is None:
        current = await services.catalog.get_current(project)
        if current is None:
            raise NotFound(f"Project {project} has no deployed version to compare with. Name one in `since`.")
        since = current.version
    return await version_history.read_changes(services.store, project, version, since)


async def promote(services: Services, project: str, version: str, by: str) -> VersionBody:
    """Let a version be the deployed one, and return it.

    Raises:
        NotFound: The project has no such version.
        Conflict: All projects together would have too many Machines.
        Unavailable: No worker has done it in time.
    """
    await read_version(services, project, version)
    return await _move(
        services, MovePointerInput(project=project, action=PointerAction.PROMOTE, version=version, by=by)
    )


async def roll_back(services: Services, project: str, by: str) -> VersionBody:
    """Let the version that was deployed before be the deployed one, and return it.

    Raises:
        Conflict: There is none, or all projects together would have too many Machines.
        Unavailable: No worker has done it in time.
    """
    return await _move(services, MovePointerInput(project=project, action=PointerAction.ROLLBACK, by=by))


async def _move(services: Services, move: MovePointerInput) -> VersionBody:
    version = await services.project_changes.move_pointer(move)
    add_log_fields(version=version)
    services.catalog.forget()
    stored = {each.version: each for each in await version_history.list_versions(services.store, move.project)}
    if version not in stored:
        raise NotFound(f"Project {move.project} has no version {version} any more.")
    (body,) = await version_history.read_details(services.store, move.project, [stored[version]])
    return body


async def delete_project(services: Services, project: str, *, confirm: str, cancel_open_runs: bool, by: str) -> bool:
    """Delete a project with all that belongs to it, and tell whether that is done. If not, workers go on with it.

    Raises:
        BadRequest: The name was not confirmed.
        Conflict: Runs or Deliveries have not ended, and are not to be canceled.
        Unavailable: Temporal cannot be reached, or no worker has taken it up; one will.
    """
    if confirm != project:
        raise field_error("confirm", "the name of the project, as a confirmation")
    deletion = DeleteProjectInput(
        workspace=services.settings.workspace, project=project, by=by, cancel_open_runs=cancel_open_runs
    )
    try:
        done = await services.project_changes.delete(deletion)
    finally:
        services.catalog.forget()
    if not done and await services.catalog.get_current(project) is not None:
        raise Unavailable(f"Project {project} will be deleted, but no worker has taken that up yet. Look again later.")
    return done
