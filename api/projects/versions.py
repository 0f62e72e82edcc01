"""Versions of a project: the calls, which are Callboard's own, and their page.

They say what is stored, what differs between two versions, and which one is deployed.
"""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.cursors import decode_cursor, encode_cursor
from api.http.errors import error_responses
from api.lookup import ProjectDep, StoredProjectDep
from api.workspace_router import workspace_router
from callboard.projects import version_history
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, NotFound
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.versions import ChangesQuery, VersionBody, VersionChanges, VersionList, VersionsQuery
from callboard.schemas.workflow.project_changes import MovePointerInput, PointerAction
from callboard.starts.lookup import read_version
from callboard.telemetry.log_context import add_log_fields

_REST = workspace_router("/{projectName}", tag="Projects")
_PAGES = page_router("/projects/{projectName}")
routers = (_REST, _PAGES)

_READING = [requires(Scope.RUNS_READ)]
_PROMOTING = [requires(Scope.DEPLOY, "project.promote")]
_ROLLING_BACK = [requires(Scope.DEPLOY, "project.rollback")]

_ON_A_PAGE = 25
"""Number of versions on a page."""


@_REST.get(
    "/versions",
    dependencies=_READING,
    operation_id="listVersions",
    summary="List a project's versions",
    responses=error_responses(BadRequest),
)
async def list_all(
    services: ServicesDep, project: StoredProjectDep, query: Annotated[VersionsQuery, Query()]
) -> VersionList:
    """List the versions, the one that was deployed last first: who deployed it when, and which is deployed now."""
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


@_REST.get(
    "/versions/{version}/changes",
    dependencies=_READING,
    operation_id="getVersionChanges",
    summary="Compare two versions",
    responses=error_responses(BadRequest),
)
async def changes(
    services: ServicesDep, project: StoredProjectDep, version: str, query: Annotated[ChangesQuery, Query()]
) -> VersionChanges:
    """Name the files in which the version differs from another one, by default from the deployed one."""
    await read_version(services, project, version)
    since = query.since
    if since is None:
        current = await services.catalog.get_current(project)
        if current is None:
            raise NotFound(f"Project {project} has no deployed version to compare with. Name one in `since`.")
        since = current.version
    return await version_history.read_changes(services.store, project, version, since)


@_PAGES.get("/versions", dependencies=_READING)
@_PAGES.get("/versions.json", dependencies=_READING)
async def page(
    request: Request,
    services: ServicesDep,
    project: StoredProjectDep,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    version: Annotated[str | None, Field(max_length=100), Query()] = None,
) -> Response:
    """Show the versions of a project, and what `version` changes of the deployed one."""
    deployed = await services.catalog.get_current(project)
    listed = await list_all(services, project, VersionsQuery(limit=_ON_A_PAGE, cursor=cursor))
    changed = None if version is None else await changes(services, project, version, ChangesQuery())
    data = {
        **listed.model_dump(mode="json", by_alias=True),
        "changes": changed and changed.model_dump(mode="json", by_alias=True),
    }
    return render_page(
        request,
        "versions.html",
        data,
        project=project,
        logs_in=deployed is not None and deployed.settings.auth_sessions.enabled,
        deployed=deployed is not None,
        cursor=cursor,
    )


@_REST.post(
    "/versions/{version}/promote",
    dependencies=_PROMOTING,
    operation_id="promoteVersion",
    summary="Promote a version",
    responses=error_responses(Forbidden, Conflict),
)
async def promote(services: ServicesDep, caller: CallerDep, project: StoredProjectDep, version: str) -> VersionBody:
    """Let the version be the deployed one, and return it. Runs in flight keep their version."""
    await read_version(services, project, version)
    return await _move(
        services, MovePointerInput(project=project, action=PointerAction.PROMOTE, version=version, by=caller.name)
    )


@_PAGES.post("/versions/{version}/promote", dependencies=_PROMOTING)
async def promote_by_form(
    services: ServicesDep, _: FormDep, caller: CallerDep, project: StoredProjectDep, version: str
) -> Response:
    """Let the version be the deployed one."""
    await promote(services, caller, project, version)
    return redirect(_address(project))


@_REST.post(
    "/rollback",
    dependencies=_ROLLING_BACK,
    operation_id="rollBackProject",
    summary="Roll a project back",
    responses=error_responses(Forbidden, Conflict),
)
async def roll_back(services: ServicesDep, caller: CallerDep, manifest: ProjectDep) -> VersionBody:
    """Deploy the version that was deployed before the current one. Each further rollback goes one back."""
    return await _move(
        services, MovePointerInput(project=manifest.project, action=PointerAction.ROLLBACK, by=caller.name)
    )


@_PAGES.post("/rollback", dependencies=_ROLLING_BACK)
async def roll_back_by_form(services: ServicesDep, _: FormDep, caller: CallerDep, manifest: ProjectDep) -> Response:
    """Return to the version that was deployed before."""
    await roll_back(services, caller, manifest)
    return redirect(_address(manifest.project))


async def _move(services: Services, move: MovePointerInput) -> VersionBody:
    version = await services.project_changes.move_pointer(move)
    add_log_fields(version=version)
    services.catalog.forget()
    stored = {each.version: each for each in await version_history.list_versions(services.store, move.project)}
    if version not in stored:
        raise NotFound(f"Project {move.project} has no version {version} any more.")
    (body,) = await version_history.read_details(services.store, move.project, [stored[version]])
    return body


def _address(project: str) -> str:
    return f"/projects/{quote(project, safe='')}/versions"
