"""The page of all projects, and the page of one project."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.dashboard.page_route import page_router
from api.dashboard.projects.data import projects_data
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.projects.lookup import ProjectDep

router = page_router("/projects")


@router.get("")
@router.get(".json")
async def list_page(request: Request, services: ServicesDep) -> Response:
    """Show the deployed projects."""
    data = await projects_data(services, await services.catalog.list_current())
    return render_page(request, "projects.html", {"projects": data})


@router.get("/{projectName}")
@router.get("/{projectName}.json")  # the lower decorator is registered first, so that its path is matched first
async def project_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the project's status, its deployment and its APIs."""
    (data,) = await projects_data(services, [manifest])
    return render_page(request, "project.html", data)
