"""The fleet: which worker has how many Machines of which project (docs/contract.md, section 21)."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import Request
from starlette.responses import Response

from api import storage
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import Services, ServicesDep
from api.http.access import requires
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import Unavailable
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.fleet import Fleet, FleetProject
from callboard.schemas.rest.projects import MissingMachines, ProjectMachines, WorkerMachines

_REST = workspace_router("/fleet", tag="Fleet", below="")
_PAGE = page_router("/fleet")
routers = (_REST, _PAGE)


@_REST.get("", dependencies=[requires(Scope.ADMIN)], operation_id="getFleet", summary="Get the fleet")
async def get(services: ServicesDep) -> Fleet:
    """Tell which worker has how many Machines of which project, how many are in use, and what is missing."""
    return await services.fleet.read(_sizes(await services.catalog.list_current()))


@_PAGE.get("", dependencies=[requires(Scope.ADMIN)])
@_PAGE.get(".json", dependencies=[requires(Scope.ADMIN)])
async def fleet_page(request: Request, services: ServicesDep) -> Response:
    """Show the workers with their Machines, which Machines of which project are missing, and what is stored of it."""
    data = (await get(services)).model_dump(mode="json", by_alias=True)
    stored = (await storage.get(services)).model_dump(mode="json", by_alias=True)
    return render_page(request, "fleet.html", data, storage=stored)


async def read_fleet(services: Services, projects: Sequence[Manifest]) -> Fleet | None:
    """Return who holds the Machines of these projects; None if no worker answers."""
    try:
        return await services.fleet.read(_sizes(projects))
    except Unavailable:
        return None


async def read_machines(services: Services, projects: Sequence[Manifest]) -> dict[str, ProjectMachines]:
    """Return the Machines of each of these projects."""
    fleet = await read_fleet(services, projects)
    if fleet is None:
        unknown = dict.fromkeys(("held", "workers", "missing", "busy", "warm", "isolation"))
        return {project: ProjectMachines(wanted=machines, **unknown) for project, machines in _sizes(projects).items()}
    hosts = {worker.worker: worker.host for worker in fleet.workers}
    return {each.project: _project_machines(each, hosts) for each in fleet.projects}


def _sizes(projects: Sequence[Manifest]) -> dict[str, int]:
    return {project.project: project.settings.machines for project in projects}


def _project_machines(found: FleetProject, hosts: dict[str, str]) -> ProjectMachines:
    return ProjectMachines(
        wanted=found.machines,
        held=found.held,
        workers=[
            WorkerMachines(worker=worker, host=hosts[worker], machines=count) for worker, count in found.workers.items()
        ],
        missing=None
        if found.reason is None or found.message is None
        else MissingMachines(machines=found.missing, reason=found.reason, message=found.message),
        busy=found.busy,
        warm=found.warm,
        isolation=found.isolation,
    )
