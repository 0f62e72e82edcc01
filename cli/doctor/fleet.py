"""Checks that workers hold the Machines of all projects, within their limit, and that Temporal lets them poll."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from cli.doctor.target import Installation
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.fleet import FleetClient
from temporal.fleet_view import FleetView, MissingReason, ProjectMachines, describe_fleet
from temporal.namespace_steps import is_cloud
from temporal.pollers import list_pollers
from temporal.polls import CLOUD_POLLS, DEFAULT_FRONTEND_POLLS, count_activity_polls

_PROJECTS, _LIMIT, _POLLS = "Projects", "Limit of Machines", "Polls"
FLEET_CHECKS = (_PROJECTS, _LIMIT, _POLLS)


async def check_fleet(client: Client, store: Store | None, place: Installation) -> list[Finding]:
    """Compare what is deployed with what workers hold and what Temporal allows. Each check has a finding."""
    if store is None:
        return [
            skipped(check, "The artifact store cannot be used, so the projects are not known.")
            for check in FLEET_CHECKS
        ]
    try:
        deployed = await Catalog(store).sizes()
        control_workers = await list_pollers(client, names.CALLBOARD_QUEUE)
        state = await FleetClient(client).read_state()
    except (StoreError, ConfigurationError) as error:
        problem = failed(_PROJECTS, error.message, "Try again; if the error stays, fix what it names.")
    except Unavailable as error:
        problem = failed(_PROJECTS, error.message, "Start `callboard worker`; all workers can answer.")
    else:
        fleet = describe_fleet(state, datetime.now(UTC), deployed)
        return [_judge_projects(fleet), _judge_limit(fleet, place), _judge_polls(client, fleet, control_workers)]
    return [problem, *(skipped(check, "It is not known who holds which Machines.") for check in FLEET_CHECKS[1:])]


def _judge_projects(fleet: FleetView) -> Finding:
    """Tell whether workers hold the Machines of each project."""
    projects = fleet.projects.values()
    if not projects:
        fix = "Deploy one with `callboard deploy DIR`. `callboard new NAME` creates one to start from."
        return warning(_PROJECTS, "No project is deployed.", fix)
    return _judge_shortages(projects) or ok(_PROJECTS, _count(projects))


def _judge_limit(fleet: FleetView, place: Installation) -> Finding:
    """Tell whether all projects together have no more Machines than they may, and workers have the same limit."""
    wanted = sum(project.wanted for project in fleet.projects.values())
    # What was set for `callboard dev` is known from its worker alone.
    limit = fleet.limit if place.dev else place.settings.max_machines
    others = sorted(worker.worker for worker in fleet.workers if worker.limit != limit)
    if others:
        return warning(
            _LIMIT,
            f"CALLBOARD_MAX_MACHINES is {_said(limit)} here, and otherwise on the workers {', '.join(others)}. Workers"
            f" keep to the smallest number that one of them has, which is {_said(fleet.limit)}.",
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


def _said(limit: int | None) -> str:
    return "not set" if limit is None else str(limit)


def _judge_polls(client: Client, fleet: FleetView, control_workers: Collection[str]) -> Finding:
    """Compare the polls that workers need with what a frontend of Temporal allows, of which it tells nothing."""
    idle, most = count_activity_polls(fleet, control_workers)
    found = (
        f"Workers poll for Attempts and other activities {idle} times at once while all projects are idle, and up to"
        f" {most} times"
    )
    cloud = is_cloud(client)
    limit = CLOUD_POLLS if cloud else DEFAULT_FRONTEND_POLLS
    allowed = f"Temporal Cloud allows {limit}" if cloud else f"a frontend of Temporal allows {limit} by default"
    if most <= limit:
        return ok(_POLLS, f"{found}; {allowed}")
    if cloud:
        return warning(_POLLS, f"{found}, but {allowed}.", "Ask Temporal's support for more, or deploy fewer projects.")
    enough = -(-most // 100) * 100
    return warning(
        _POLLS,
        f"{found}, but {allowed}. What it refuses is polled again later, so Runs wait longer for each step.",
        f"Unless it is set already, set frontend.namespaceCount to {enough} in Temporal's dynamic configuration"
        " (docs/operations.md, More Machines).",
    )


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
