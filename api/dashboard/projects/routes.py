"""The page of all projects, and the page of one project."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.dashboard.page_route import page_router
from api.dashboard.projects.data import projects_data
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.projects.lookup import ProjectDep
from schemas.rest.access import Scope

router = page_router("/projects")


@router.get("", dependencies=[requires(Scope.RUNS_READ, of_seen_projects=True)])
@router.get(".json", dependencies=[requires(Scope.RUNS_READ, of_seen_projects=True)])
async def list_page(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Show the deployed projects that the caller may see."""
    seen = [project for project in await services.catalog.list_current() if caller.sees(project.project)]
    data = await projects_data(services, seen)
    return render_page(request, "projects.html", {"projects": data}, deleted=request.query_params.get("deleted"))


@router.get("/{projectName}", dependencies=[requires(Scope.RUNS_READ)])
# The lower decorator is registered first, so that its path is matched first.
@router.get("/{projectName}.json", dependencies=[requires(Scope.RUNS_READ)])
async def project_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the project's status, its deployment and its APIs."""
    (data,) = await projects_data(services, [manifest])
    return render_page(request, "project.html", data)
