"""Checks that workers hold the Machines of all projects, and keep to one limit of them, as the API tells."""

from __future__ import annotations

from collections.abc import Sequence

from callboard.cli.api_client import find_api
from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.cli.doctor.target import Installation
from callboard.schemas.errors import CallboardError
from callboard.schemas.rest.fleet import Fleet, FleetProject, MissingReason

_PROJECTS, _LIMIT = "Projects", "Limit of Machines"


def check_fleet(place: Installation) -> list[Finding]:
    """Compare the Machines of deployed projects with what workers hold, and with the limit of all projects."""
    settings = place.settings
    if not place.dev and (settings.url is None or settings.api_key is None):
        fix = "Set CALLBOARD_URL to the address of the API, and CALLBOARD_API_KEY to a key with the scope admin."
        return [warning(_PROJECTS, "Nobody was asked who holds which Machines: that takes the API and a key.", fix)]
    try:
        api = find_api(url=None, key=None, data=settings.data_dir if place.dev else None)
        fleet = Fleet.model_validate(api.request("GET", "fleet"))
    except CallboardError as error:
        fix = (
            "Start `callboard api` and `callboard worker`, whichever is missing. If both run, correct CALLBOARD_URL and"
            " CALLBOARD_API_KEY; the key needs the scope admin."
        )
        return [failed(_PROJECTS, error.message, fix)]
    return [_judge_projects(fleet.projects), _judge_limit(fleet, place)]


def _judge_projects(projects: Sequence[FleetProject]) -> Finding:
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
        named = ", ".join(f"{project.project} ({project.message})" for project in crowded)
        fix = (
            "Start `callboard worker` on another host or raise CALLBOARD_CAPACITY where there is no room, and raise"
            " CALLBOARD_MAX_MACHINES where the projects may have no more together. Or lower"
            " replication.maxConcurrentRequests of projects."
        )
        return warning(_PROJECTS, f"Machines are missing: {named}.", fix)
    machines = sum(project.held for project in projects)
    what = "1 project is deployed" if len(projects) == 1 else f"{len(projects)} projects are deployed"
    return ok(_PROJECTS, f"{what}, with {machines} Machine{'' if machines == 1 else 's'}")


def _judge_limit(fleet: Fleet, place: Installation) -> Finding:
    """Tell whether all projects together have no more Machines than they may, and workers have the same limit."""
    wanted = sum(project.machines for project in fleet.projects)
    # What was set for `callboard dev` is known from its worker alone.
    limit = fleet.limit if place.dev else place.settings.max_machines
    others = sorted(worker.worker for worker in fleet.workers if worker.max_machines != limit)
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
