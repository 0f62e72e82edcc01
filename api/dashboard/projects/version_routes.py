"""The page of a project's versions, and the actions on them and on the project as a whole."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import query_string, render_page
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.projects import versions
from api.projects.lookup import ProjectDep
from api.projects.versions import StoredProjectDep
from schemas.rest.access import Scope
from schemas.rest.versions import VersionsQuery

router = page_router("/projects/{projectName}")

_PAGE = 25
"""Number of versions on a page."""


@router.get("/versions", dependencies=[requires(Scope.RUNS_READ)])
# The lower decorator is registered first, so that its path is matched first.
@router.get("/versions.json", dependencies=[requires(Scope.RUNS_READ)])
async def versions_page(
    request: Request,
    services: ServicesDep,
    project: StoredProjectDep,
    cursor: Annotated[str | None, Query(max_length=2000)] = None,
    version: Annotated[str | None, Field(max_length=100), Query()] = None,
) -> Response:
    """Show the versions of a project, and what `version` changes of the deployed one."""
    deployed = await services.catalog.get_current(project)
    listed = await versions.list_page(services, project, VersionsQuery(limit=_PAGE, cursor=cursor))
    changes = None if version is None else await versions.read_changes(services, project, version, None)
    data = {
        **listed.model_dump(mode="json", by_alias=True),
        "changes": changes and changes.model_dump(mode="json", by_alias=True),
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


@router.post("/versions/{version}/promote", dependencies=[requires(Scope.DEPLOY, "project.promote")])
async def promote(
    services: ServicesDep, _: FormDep, caller: CallerDep, project: StoredProjectDep, version: str
) -> Response:
    """Let the version be the deployed one."""
    await versions.promote(services, project, version, caller.name)
    return _to_versions(project)


@router.post("/rollback", dependencies=[requires(Scope.DEPLOY, "project.rollback")])
async def roll_back(services: ServicesDep, _: FormDep, caller: CallerDep, manifest: ProjectDep) -> Response:
    """Return to the version that was deployed before."""
    await versions.roll_back(services, manifest.project, caller.name)
    return _to_versions(manifest.project)


@router.post("/delete", dependencies=[requires(Scope.DEPLOY, "project.delete")])
async def delete(services: ServicesDep, form: FormDep, caller: CallerDep, project: StoredProjectDep) -> Response:
    """Delete the project, and redirect to the list of all projects."""
    await versions.delete_project(
        services,
        project,
        confirm=form.get("confirm", "").strip(),
        cancel_open_runs=form.get("openRuns") == "cancel",
        by=caller.name,
    )
    return RedirectResponse(f"/projects{query_string({'deleted': project})}", 303)


def _to_versions(project: str) -> Response:
    return RedirectResponse(f"/projects/{quote(project, safe='')}/versions", 303)
