"""All projects, and one of them."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request
from starlette.responses import Response

from api.admission import deployed
from api.pages.projects import projects_data
from api.pages.rendering import page
from api.pages.route import PageRoute
from api.pages.session import SignedIn
from api.parts import PartsDep

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/projects")
@router.get("/projects.json")
async def all_projects(request: Request, parts: PartsDep, _: SignedIn) -> Response:
    """What is deployed here."""
    names = await parts.catalog.projects()
    manifests = await asyncio.gather(*(parts.catalog.current(name) for name in names))
    data = await projects_data(parts, [manifest for manifest in manifests if manifest is not None])
    return page(request, "projects.html", {"projects": data})


@router.get("/projects/{project}")
@router.get("/projects/{project}.json")  # the lower decorator is registered first, so that it is looked at first
async def one_project(request: Request, parts: PartsDep, _: SignedIn, project: str) -> Response:
    """Its APIs, how it does, and what its settings say."""
    (data,) = await projects_data(parts, [await deployed(parts, project)])
    return page(request, "project.html", data)
