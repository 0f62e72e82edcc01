"""The page of all projects, and the page of one project."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.dashboard.auth import SignedIn
from api.dashboard.page_route import PageRoute
from api.dashboard.projects.data import projects_data
from api.dashboard.rendering import page
from api.dependencies import ServicesDep
from api.guards import require_project

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/projects")
@router.get("/projects.json")
async def all_projects(request: Request, parts: ServicesDep, _: SignedIn) -> Response:
    """Show the projects that are deployed here."""
    names = await parts.catalog.projects()
    manifests = await asyncio.gather(*(parts.catalog.current(name) for name in names))
    data = await projects_data(parts, [manifest for manifest in manifests if manifest is not None])
    return page(request, "projects.html", {"projects": data})


@router.get("/projects/{project}")
@router.get("/projects/{project}.json")  # the lower decorator is registered first, so that its path is matched first
async def one_project(request: Request, parts: ServicesDep, _: SignedIn, project: str) -> Response:
    """Its APIs, how it does, and what its settings say."""
    (data,) = await projects_data(parts, [await require_project(parts, project)])
    return page(request, "project.html", data)
