"""The calls about projects, which are Callboard's own."""

from __future__ import annotations

from api.dependencies import ServicesDep
from api.http.workspace_router import workspace_router
from api.projects import deployed
from schemas.rest.projects import ProjectBody, ProjectList

router = workspace_router("", tag="Projects")


@router.get("", summary="List projects")
async def list_all(services: ServicesDep) -> ProjectList:
    """List all deployed projects, sorted by name."""
    return await deployed.list_projects(services)


@router.get("/{projectName}", summary="Get a project")
async def get(services: ServicesDep, projectName: str) -> ProjectBody:  # noqa: N803 - the contract's name
    """Get the project's deployed version, its APIs, and how many Machines there are for it."""
    return await deployed.get_project(services, projectName)
