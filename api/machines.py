"""Who holds which Machines of the projects, and which of them are up, as far as that is known now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from api.dependencies import Services
from projects.manifest import Manifest
from schemas.errors import Unavailable
from schemas.rest.projects import MissingMachines, ProjectMachines, WorkerMachines
from temporal.fleet_view import FleetView, describe_fleet
from temporal.pool_usage import PoolUsage


@dataclass(frozen=True)
class Machines:
    """The Machines of all projects."""

    fleet: FleetView | None
    """Who holds them; None if no worker answers."""
    usage: Mapping[str, PoolUsage] | None
    """Which of them are up, by project; None if Temporal's server cannot tell."""

    def of(self, project: Manifest) -> ProjectMachines:
        """Return the Machines of one of the projects."""
        usage = None if self.usage is None else self.usage.get(project.project, PoolUsage())
        busy, warm = (None, None) if usage is None else (usage.busy, usage.warm)
        wanted = project.settings.machines
        if self.fleet is None:
            return ProjectMachines(wanted=wanted, held=None, workers=None, missing=None, busy=busy, warm=warm)
        found = self.fleet.projects[project.project]
        hosts = {worker.worker: worker.host for worker in self.fleet.workers}
        return ProjectMachines(
            wanted=wanted,
            held=found.held,
            workers=[
                WorkerMachines(worker=worker, host=hosts[worker], machines=count)
                for worker, count in found.workers.items()
            ],
            missing=None
            if found.reason is None or found.shortage is None
            else MissingMachines(machines=found.missing, reason=found.reason.value, message=found.shortage),
            busy=busy,
            warm=warm,
        )

    def isolation(self, project: str) -> str | None:
        """Return how far those of a project are isolated; None if nobody tells."""
        return (self.usage or {}).get(project, PoolUsage()).isolation or None


async def read_machines(services: Services, projects: Iterable[Manifest]) -> Machines:
    """Return the Machines of these projects. Raises Unavailable if Temporal does not answer."""
    usage = await services.run_queries.read_machine_usage()
    return Machines(await read_fleet(services, projects), usage)


async def read_fleet(services: Services, projects: Iterable[Manifest]) -> FleetView | None:
    """Return who holds the Machines of these projects; None if no worker answers."""
    try:
        state = await services.fleet.read()
    except Unavailable:
        return None
    return describe_fleet(
        state, datetime.now(UTC), {project.project: project.settings.machines for project in projects}
    )
