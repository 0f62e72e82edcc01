"""The calls about projects, which are Callboard's own."""

from __future__ import annotations

from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.workspace_router import workspace_router
from api.projects.lookup import ProjectDep
from api.projects.machines import Machines, read_machines
from projects.manifest import Manifest
from schemas.rest.access import Scope
from schemas.rest.projects import ProjectBody, ProjectList

router = workspace_router("", tag="Projects")


@router.get("", dependencies=[requires(Scope.RUNS_READ, of_seen_projects=True)], summary="List projects")
async def list_all(services: ServicesDep, caller: CallerDep) -> ProjectList:
    """List the deployed projects that the key may see, sorted by name."""
    projects = [project for project in await services.catalog.list_current() if caller.sees(project.project)]
    machines = await read_machines(services, projects)
    return ProjectList(projects=[_project_body(project, machines) for project in projects])


@router.get("/{projectName}", dependencies=[requires(Scope.RUNS_READ)], summary="Get a project")
async def get(services: ServicesDep, manifest: ProjectDep) -> ProjectBody:
    """Get the project's deployed version, its APIs, and how many Machines there are for it."""
    return _project_body(manifest, await read_machines(services, [manifest]))


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
