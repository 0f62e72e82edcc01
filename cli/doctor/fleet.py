"""Checks that workers serve all task queues, hold the Machines of all projects, and keep to one limit of them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, warning
from cli.doctor.target import Installation
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.fleet import FleetClient
from temporal.fleet_view import FleetView, MissingReason, ProjectMachines, describe_fleet
from temporal.pollers import list_pollers

_WORKERS, _PROJECTS, _LIMIT = "Workers", "Projects", "Limit of Machines"
_CONSEQUENCES = {
    names.RUNS_QUEUE: "no Run starts",
    names.CALLBOARD_QUEUE: "no AuthSession or Job goes on",
    names.DELIVERIES_QUEUE: "no result is delivered",
    names.FLEET_QUEUE: "no worker gets Machines",
}
"""Task queues, and the consequence if no worker serves them. Workers of every role serve the last one."""


async def check_workers(client: Client) -> Finding:
    """Check for workers that sequence Runs, deliver results and lease Machines."""
    try:
        serving = {queue: await list_pollers(client, queue) for queue in _CONSEQUENCES}
    except (Unavailable, ConfigurationError) as error:
        return failed(_WORKERS, error.message, "Try again; if the error stays, look at Temporal's log.")
    idle = [
        f"no worker polls the task queue {queue}, so {_CONSEQUENCES[queue]}"
        for queue, found in serving.items()
        if not found
    ]
    if idle:
        found = "; ".join(idle)
        fix = "Start `callboard worker` with CALLBOARD_ROLE set to all or control."
        return failed(_WORKERS, f"{found[0].upper()}{found[1:]}.", fix)
    number = len(set[str]().union(*serving.values()))
    *queues, last = _CONSEQUENCES
    return ok(
        _WORKERS, f"{number} worker{'' if number == 1 else 's'} on the task queues {', '.join(queues)} and {last}"
    )


async def check_fleet(client: Client, store: Store, place: Installation) -> list[Finding]:
    """Compare the Machines of deployed projects with what workers hold, and with the limit of all projects."""
    try:
        deployed = await Catalog(store).sizes()
        state = await FleetClient(client).read_state()
    except (StoreError, ConfigurationError) as error:
        return [failed(_PROJECTS, error.message, "Try again; if the error stays, fix what it names.")]
    except Unavailable as error:
        return [failed(_PROJECTS, error.message, "Start `callboard worker`; all workers can answer.")]
    fleet = describe_fleet(state, datetime.now(UTC), deployed)
    return [_judge_projects(fleet.projects.values()), _judge_limit(fleet, place)]


def _judge_projects(projects: Collection[ProjectMachines]) -> Finding:
    """Return what keeps projects from having their Machines for long, the worst first."""
    if not projects:
        fix = "Deploy one with `callboard deploy DIR`. `callboard new NAME` creates one to start from."
        return warning(_PROJECTS, "No project is deployed.", fix)
    short = {reason: [project for project in projects if project.reason is reason] for reason in MissingReason}
    if waiting := [*short[MissingReason.NO_WORKER], *short[MissingReason.NOT_SERVED]]:
        fix = (
            "Start `callboard worker` with CALLBOARD_ROLE set to all or browser, and CALLBOARD_PROJECTS unset or with"
            " these projects."
        )
        named = ", ".join(project.project for project in waiting)
        return failed(_PROJECTS, f"No worker serves {named}: their Runs wait.", fix)
    if crowded := [*short[MissingReason.NO_ROOM], *short[MissingReason.LIMIT]]:
        named = ", ".join(f"{project.project} ({project.shortage})" for project in crowded)
        fix = (
            "Start `callboard worker` on another host or raise CALLBOARD_CAPACITY where there is no room, and raise"
            " CALLBOARD_MAX_MACHINES where the projects may have no more together. Or lower"
            " replication.maxConcurrentRequests of projects."
        )
        return warning(_PROJECTS, f"Machines are missing: {named}.", fix)
    machines = sum(project.held for project in projects)
    what = "1 project is deployed" if len(projects) == 1 else f"{len(projects)} projects are deployed"
    return ok(_PROJECTS, f"{what}, with {machines} Machine{'' if machines == 1 else 's'}")


def _judge_limit(fleet: FleetView, place: Installation) -> Finding:
    """Tell whether all projects together have no more Machines than they may, and workers have the same limit."""
    wanted = sum(project.wanted for project in fleet.projects.values())
    # What was set for `callboard dev` is known from its worker alone.
    limit = fleet.limit if place.dev else place.settings.max_machines
    others = sorted(worker.worker for worker in fleet.workers if worker.limit != limit)
    if others:
        here, smallest = ("not set" if number is None else number for number in (limit, fleet.limit))
        return warning(
            _LIMIT,
            f"CALLBOARD_MAX_MACHINES is {here} here, and otherwise on the workers {', '.join(others)}. Workers"
            f" keep to the smallest number that one of them has, which is {smallest}.",
            "Set it to the same number for all workers and wherever somebody deploys, and restart the workers.",
        )
    if limit is None:
        return ok(_LIMIT, f"There is none (CALLBOARD_MAX_MACHINES); all projects together have {wanted}")
    if wanted > limit:
        return warning(
            _LIMIT,
            f"All projects together ask for {wanted} Machines, and may have {limit} (CALLBOARD_MAX_MACHINES). The"
            " largest projects get fewer.",
            "Lower replication.maxConcurrentRequests of projects, or raise CALLBOARD_MAX_MACHINES.",
        )
    return ok(_LIMIT, f"All projects together may have {limit} Machines, and have {wanted}")
