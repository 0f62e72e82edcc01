"""The page of all projects, and the page of one project."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard.auth import SessionDep
from api.dashboard.page_route import PageRoute
from api.dashboard.projects.data import projects_data
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.projects.lookup import require_project

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/projects")
@router.get("/projects.json")
async def list_page(request: Request, services: ServicesDep, _: SessionDep) -> Response:
    """Show the deployed projects."""
    names = await services.catalog.list_projects()
    manifests = await asyncio.gather(*(services.catalog.get_current(name) for name in names))
    data = await projects_data(services, [manifest for manifest in manifests if manifest is not None])
    return render_page(request, "projects.html", {"projects": data})


@router.get("/projects/{project}")
@router.get("/projects/{project}.json")  # the lower decorator is registered first, so that its path is matched first
async def project_page(request: Request, services: ServicesDep, _: SessionDep, project: str) -> Response:
    """Show the project's status, its deployment and its APIs."""
    (data,) = await projects_data(services, [await require_project(services, project)])
    return render_page(request, "project.html", data)
