"""The calls about projects, which are Callboard's own: what is deployed, and who executes it."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Security

from api.dependencies import ServicesDep
from api.guards import in_workspace, key_header
from api.http.errors import documented
from api.projects import deployed
from schemas.errors import InternalServerError, NotFound, TooMany, Unauthorized, Unavailable
from schemas.rest.projects import ProjectBody, ProjectList

router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["Projects"],
)


@router.get("", summary="List projects")
async def list_all(parts: ServicesDep) -> ProjectList:
    """All that are deployed, by name."""
    return await deployed.project_list(parts)


@router.get("/{projectName}", summary="Get a project")
async def get(parts: ServicesDep, projectName: str) -> ProjectBody:  # noqa: N803 - the contract's name
    """Its deployed version, its APIs, and how many Machines there are for it."""
    return await deployed.project_body(parts, projectName)
