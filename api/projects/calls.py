"""Projects: the calls, which are Callboard's own, and the pages (docs/contract.md, section 13)."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import Query, Request
from starlette.responses import JSONResponse, Response

from api import alerts
from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.fleet import read_machines
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.lookup import ProjectDep, StoredProjectDep
from api.projects.activity import read_activity
from api.projects.openapi import project_openapi
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, Unavailable
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.projects import ApiBody, ApiList, ProjectBody, ProjectList, ProjectMachines
from callboard.schemas.rest.versions import DeleteQuery
from callboard.schemas.workflow.project_changes import DeleteProjectInput
from callboard.security.apikeys import Caller

_REST = workspace_router("", tag="Projects")
_PAGES = page_router("/projects")
routers = (_REST, _PAGES)

_LISTING = [requires(Scope.RUNS_READ, of_seen_projects=True)]
_READING = [requires(Scope.RUNS_READ)]
_DELETING = [requires(Scope.DEPLOY, "project.delete")]


@_REST.get("", dependencies=_LISTING, operation_id="listProjects", summary="List projects")
async def list_all(services: ServicesDep, caller: CallerDep) -> ProjectList:
    """List the deployed projects that the key may see, sorted by name."""
    projects = await _list_seen(services, caller)
    machines = await read_machines(services, projects)
    return ProjectList(projects=[_body(project, machines[project.project]) for project in projects])


@_PAGES.get("", dependencies=_LISTING)
@_PAGES.get(".json", dependencies=_LISTING)
async def list_page(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """Show the deployed projects that the caller may see."""
    data = await _page_data(services, await _list_seen(services, caller))
    return render_page(request, "projects.html", {"projects": data}, deleted=request.query_params.get("deleted"))


@_REST.get("/{projectName}", dependencies=_READING, operation_id="getProject", summary="Get a project")
async def get(services: ServicesDep, manifest: ProjectDep) -> ProjectBody:
    """Get the project's deployed version, its APIs, and how many Machines there are for it."""
    return _body(manifest, (await read_machines(services, [manifest]))[manifest.project])


@_PAGES.get("/{projectName}", dependencies=_READING)
# The lower decorator is registered first, so that its path is matched first.
@_PAGES.get("/{projectName}.json", dependencies=_READING)
async def project_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the project's alerts, its status, its deployment and its APIs."""
    (data,) = await _page_data(services, [manifest])
    data["endedByHour"] = await services.ended_by_hour.read(services.run_queries, manifest.project, datetime.now(UTC))
    shown = await alerts.list_all(services, manifest)
    return render_page(request, "project.html", data, alerts=shown.model_dump(mode="json", by_alias=True)["alerts"])


@_REST.get("/{projectName}/apis", dependencies=_READING, operation_id="listApis", summary="List a project's APIs")
async def list_apis(services: ServicesDep, manifest: ProjectDep) -> ApiList:
    """List the APIs of the deployed version, sorted by name, with docstrings and schemas of their parameters."""
    return ApiList(
        version=manifest.version,
        validate_parameters=manifest.settings.api_access.validate_parameters,
        apis=[await describe_api(services, manifest, api) for api in manifest.apis],
    )


async def describe_api(services: Services, manifest: Manifest, api: str) -> ApiBody:
    """Return what is known of an API of this version. Raises StoreError."""
    known = (await services.input_schemas.get(services.store, manifest.project, manifest.version)).of(api)
    return ApiBody(
        name=api,
        docstring=known.docstring,
        input_schema=known.input_schema,
        result_schema=known.result_schema,
        needs_auth_session=manifest.settings.auth_sessions.enabled,
    )


@_REST.get(
    "/{projectName}/openapi.json",
    dependencies=_READING,
    operation_id="getProjectOpenApi",
    summary="Describe a project by OpenAPI",
)
async def openapi(request: Request, services: ServicesDep, manifest: ProjectDep) -> dict[str, Any]:
    """Describe how the APIs of the deployed version are called, as OpenAPI 3.1: for generators of clients."""
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    server = f"{request.url.scheme}://{request.url.netloc}"
    return project_openapi(request.app.openapi(), services.settings.workspace, manifest, described, server)


@_REST.delete(
    "/{projectName}",
    dependencies=_DELETING,
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
    if query.confirm != project:
        raise field_error("confirm", "the name of the project, as a confirmation")
    deletion = DeleteProjectInput(
        workspace=services.settings.workspace,
        project=project,
        by=caller.name,
        cancel_open_runs=query.open_runs == "cancel",
    )
    try:
        done = await services.project_changes.delete(deletion)
    finally:
        services.catalog.forget()
    if done:
        return Response(status_code=204)
    if await services.catalog.get_current(project) is not None:
        raise Unavailable(f"Project {project} will be deleted, but no worker has taken that up yet. Look again later.")
    return JSONResponse({"status": "deleting"}, 202)


@_PAGES.post("/{projectName}/delete", dependencies=_DELETING)
async def delete_by_form(
    services: ServicesDep, form: FormDep, caller: CallerDep, project: StoredProjectDep
) -> Response:
    """Delete the project, and redirect to the list of all projects."""
    query = {"confirm": form.get("confirm", "").strip(), "openRuns": form.get("openRuns", "refuse")}
    await delete(services, caller, project, validate_body(DeleteQuery, query))
    return redirect("/projects", deleted=project)


async def _list_seen(services: Services, caller: Caller) -> list[Manifest]:
    return [project for project in await services.catalog.list_current() if caller.sees(project.project)]


def _body(manifest: Manifest, machines: ProjectMachines) -> ProjectBody:
    settings = manifest.settings
    return ProjectBody(
        name=manifest.project,
        version=manifest.version,
        created_at=manifest.created_at,
        apis=list(manifest.apis),
        api_access=settings.api_access.enabled,
        auth_sessions=settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        machines=machines,
        warnings=[str(warning) for warning in manifest.warnings],
    )


_CONCURRENT_PROJECTS = 8
"""Number of projects about which Temporal is asked concurrently."""


async def _page_data(services: Services, manifests: Sequence[Manifest]) -> list[dict[str, Any]]:
    """Return the data of projects, with their Machines, their queue and their last Runs. Raises Unavailable."""
    machines = await read_machines(services, manifests)
    limit = asyncio.Semaphore(_CONCURRENT_PROJECTS)

    async def load(manifest: Manifest) -> dict[str, Any]:
        async with limit:
            return {**_deployed(manifest), **await _activity(services, manifest.project, machines[manifest.project])}

    return list(await asyncio.gather(*(load(manifest) for manifest in manifests)))


def _deployed(manifest: Manifest) -> dict[str, Any]:
    """Return what a page tells of a project by its manifest. It holds no setting that may be secret."""
    settings = manifest.settings
    return {
        "project": manifest.project,
        "version": manifest.version,
        "deployedFirst": manifest.created_at.isoformat(),
        "apis": list(manifest.apis),
        "machines": settings.machines,
        "apiAccess": settings.api_access.enabled,
        "authSessions": settings.auth_sessions.type if settings.auth_sessions.enabled else None,
        "headful": settings.headful,
        "warnings": [str(warning) for warning in manifest.warnings],
    }


async def _activity(services: Services, project: str, machines: ProjectMachines) -> dict[str, Any]:
    counts = machines.model_dump(mode="json", by_alias=True)
    return {
        "machinesHeld": counts["held"],
        "machinesWorkers": counts["workers"],
        "machinesMissing": counts["missing"],
        "machinesBusy": counts["busy"],
        "machinesWarm": counts["warm"],
        "isolation": counts["isolation"],
        **await read_activity(services.run_queries, services.settings.workspace, project),
    }
