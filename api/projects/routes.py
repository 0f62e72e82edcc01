"""The calls about projects, which are Callboard's own."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import JSONResponse, Response

from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.workspace_router import workspace_router
from api.projects import versions
from api.projects.lookup import ProjectDep
from api.projects.machines import Machines, read_machines
from api.projects.openapi import project_openapi
from api.projects.versions import StoredProjectDep
from projects.manifest import Manifest
from schemas.errors import BadRequest, Conflict, Forbidden
from schemas.rest.access import Scope
from schemas.rest.projects import ApiBody, ApiList, ProjectBody, ProjectList
from schemas.rest.versions import (
    ChangesQuery,
    DeleteQuery,
    VersionBody,
    VersionChanges,
    VersionList,
    VersionsQuery,
)

router = workspace_router("", tag="Projects")


@router.get(
    "",
    dependencies=[requires(Scope.RUNS_READ, of_seen_projects=True)],
    operation_id="listProjects",
    summary="List projects",
)
async def list_all(services: ServicesDep, caller: CallerDep) -> ProjectList:
    """List the deployed projects that the key may see, sorted by name."""
    projects = [project for project in await services.catalog.list_current() if caller.sees(project.project)]
    machines = await read_machines(services, projects)
    return ProjectList(projects=[_project_body(project, machines) for project in projects])


@router.get(
    "/{projectName}", dependencies=[requires(Scope.RUNS_READ)], operation_id="getProject", summary="Get a project"
)
async def get(services: ServicesDep, manifest: ProjectDep) -> ProjectBody:
    """Get the project's deployed version, its APIs, and how many Machines there are for it."""
    return _project_body(manifest, await read_machines(services, [manifest]))


@router.get(
    "/{projectName}/apis",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="listApis",
    summary="List a project's APIs",
)
async def list_apis(services: ServicesDep, manifest: ProjectDep) -> ApiList:
    """List the APIs of the deployed version, sorted by name, with docstrings and schemas of their parameters."""
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    return ApiList(
        version=manifest.version,
        validate_parameters=manifest.settings.api_access.validate_parameters,
        apis=[
            ApiBody(
                name=api,
                docstring=described.of(api).docstring,
                input_schema=described.of(api).input_schema,
                needs_auth_session=manifest.settings.auth_sessions.enabled,
            )
            for api in manifest.apis
        ],
    )


@router.get(
    "/{projectName}/openapi.json",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="getProjectOpenApi",
    summary="Describe a project by OpenAPI",
)
async def openapi(request: Request, services: ServicesDep, manifest: ProjectDep) -> dict[str, Any]:
    """Describe how the APIs of the deployed version are called, as OpenAPI 3.1: for generators of clients."""
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    server = f"{request.url.scheme}://{request.url.netloc}"
    return project_openapi(request.app.openapi(), services.settings.workspace, manifest, described, server)


@router.delete(
    "/{projectName}",
    dependencies=[requires(Scope.DEPLOY, "project.delete")],
    status_code=204,
    operation_id="deleteProject",
    summary="Delete a project",
    responses={
        202: {"description": "The project is out of service, and what belongs to it is being removed."},
        **error_responses(BadRequest, Forbidden, Conflict),
    },
)
async def delete(
    services: ServicesDep, caller: CallerDep, project: StoredProjectDep, query: Annotated[DeleteQuery, Query()]
) -> Response:
    """Delete the project with its versions, Jobs, AuthSessions, variables, stored values and artifacts of its Runs."""
    done = await versions.delete_project(
        services, project, confirm=query.confirm, cancel_open_runs=query.open_runs == "cancel", by=caller.name
    )
    return Response(status_code=204) if done else JSONResponse({"status": "deleting"}, 202)


@router.get(
    "/{projectName}/versions",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="listVersions",
    summary="List a project's versions",
    responses=error_responses(BadRequest),
)
async def list_versions(
    services: ServicesDep, project: StoredProjectDep, query: Annotated[VersionsQuery, Query()]
) -> VersionList:
    """List the versions, the one that was deployed last first: who deployed it when, and which is deployed now."""
    return await versions.list_page(services, project, query)


@router.get(
    "/{projectName}/versions/{version}/changes",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="getVersionChanges",
    summary="Compare two versions",
    responses=error_responses(BadRequest),
)
async def changes(
    services: ServicesDep, project: StoredProjectDep, version: str, query: Annotated[ChangesQuery, Query()]
) -> VersionChanges:
    """Name the files in which the version differs from another one, by default from the deployed one."""
    return await versions.read_changes(services, project, version, query.since)


@router.post(
    "/{projectName}/versions/{version}/promote",
    dependencies=[requires(Scope.DEPLOY, "project.promote")],
    operation_id="promoteVersion",
    summary="Promote a version",
    responses=error_responses(Forbidden, Conflict),
)
async def promote(services: ServicesDep, caller: CallerDep, project: StoredProjectDep, version: str) -> VersionBody:
    """Let the version be the deployed one, and return it. Runs in flight keep their version."""
    return await versions.promote(services, project, version, caller.name)


@router.post(
    "/{projectName}/rollback",
    dependencies=[requires(Scope.DEPLOY, "project.rollback")],
    operation_id="rollBackProject",
    summary="Roll a project back",
    responses=error_responses(Forbidden, Conflict),
)
async def roll_back(services: ServicesDep, caller: CallerDep, manifest: ProjectDep) -> VersionBody:
    """Let the version be the deployed one that was deployed before it, and return it. Twice goes two back."""
    return await versions.roll_back(services, manifest.project, caller.name)


def _project_body(manifest: Manifest, machines: Machines) -> ProjectBody:
    settings = manifest.settings
    return ProjectBody(
        name=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        apis=list(manifest.apis),
        api_access=settings.api_access.enabled,
        auth_sessions=settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        machines=machines.of(manifest),
        warnings=[str(warning) for warning in manifest.warnings],
    )
