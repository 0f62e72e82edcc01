"""Checks that there is a worker for each task queue, and that workers hold the Machines of each project."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.fleet import FleetClient
from temporal.fleet_view import MissingReason, ProjectMachines, describe_fleet
from temporal.pollers import list_pollers

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
        return failed("Workers", error.message, "Try again; if the error stays, look at Temporal's log.")
    idle = [
        f"no worker polls the task queue {queue}, so {_CONSEQUENCES[queue]}"
        for queue, found in serving.items()
        if not found
    ]
    if idle:
        found = "; ".join(idle)
        fix = "Start `callboard worker` with CALLBOARD_ROLE set to all or control."
        return failed("Workers", f"{found[0].upper()}{found[1:]}.", fix)
    number = len(set[str]().union(*serving.values()))
    *queues, last = _CONSEQUENCES
    return ok(
        "Workers", f"{number} worker{'' if number == 1 else 's'} on the task queues {', '.join(queues)} and {last}"
    )


async def check_projects(client: Client, store: Store | None) -> Finding:
    """Check that workers hold the Machines of each deployed project."""
    if store is None:
        return skipped("Projects", "The artifact store cannot be used, so the deployed projects are not known.")
    try:
        deployed = await Catalog(store).sizes()
        if not deployed:
            fix = "Deploy one with `callboard deploy DIR`. `callboard new NAME` creates one to start from."
            return warning("Projects", "No project is deployed.", fix)
        state = await FleetClient(client).read_state()
    except StoreError as error:
        return failed("Projects", error.message, "Try again; if the error stays, fix what it names.")
    except Unavailable as error:
        return failed("Projects", error.message, "Start `callboard worker`; all workers can answer.")
    projects = describe_fleet(state, datetime.now(UTC), deployed).projects.values()
    return _judge_shortages(projects) or ok("Projects", _count(projects))


def _judge_shortages(projects: Collection[ProjectMachines]) -> Finding | None:
    """Return what keeps projects from having their Machines, the worst first; None if nothing does for long."""
    short = {reason: [project for project in projects if project.reason is reason] for reason in MissingReason}
    if waiting := [*short[MissingReason.NO_WORKER], *short[MissingReason.NOT_SERVED]]:
        fix = (
            "Start `callboard worker` with CALLBOARD_ROLE set to all or browser, and CALLBOARD_PROJECTS unset or with"
            " these projects."
        )
        named = ", ".join(project.project for project in waiting)
        return failed("Projects", f"No worker serves {named}: their Runs wait.", fix)
    if crowded := [*short[MissingReason.NO_ROOM], *short[MissingReason.LIMIT]]:
        named = ", ".join(f"{project.project} ({project.shortage})" for project in crowded)
        fix = (
            "Start `callboard worker` on another host or raise CALLBOARD_CAPACITY where there is no room, and raise"
            " CALLBOARD_MAX_MACHINES where the projects may have no more together. Or lower"
            " replication.maxConcurrentRequests of projects."
        )
        return warning("Projects", f"Machines are missing: {named}.", fix)
    return None


def _count(projects: Collection[ProjectMachines]) -> str:
    machines = sum(project.held for project in projects)
    what = "1 project is deployed" if len(projects) == 1 else f"{len(projects)} projects are deployed"
    return f"{what}, with {machines} Machine{'' if machines == 1 else 's'}"
