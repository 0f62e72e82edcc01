"""Checks that there is a worker for each task queue and for each project."""

from __future__ import annotations

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from projects.catalog import Catalog
from projects.manifest import Manifest
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.health import TemporalHealth
from temporal.pollers import list_pollers

_CONSEQUENCES = {names.CALLBOARD_QUEUE: "no Run starts", names.DELIVERIES_QUEUE: "no result is delivered"}
"""Task queues, and the consequence if no worker serves them."""


async def check_workers(client: Client) -> Finding:
    """Check for workers that sequence Runs and deliver results."""
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
    return ok(
        "Workers", f"{number} worker{'' if number == 1 else 's'} on the task queues {' and '.join(_CONSEQUENCES)}"
    )


async def check_projects(client: Client, store: Store | None) -> Finding:
    """Check that workers offer Machines for each deployed project."""
    if store is None:
        return skipped("Projects", "The artifact store cannot be used, so the deployed projects are not known.")
    try:
        catalog = Catalog(store)
        deployed = [manifest for name in await catalog.list_projects() if (manifest := await catalog.get_current(name))]
        offered = await _count_offered_machines(client, deployed)
    except (StoreError, Unavailable, ConfigurationError) as error:
        return failed("Projects", error.message, "Try again; if the error stays, fix what it names.")
    if not deployed:
        fix = "Deploy one with `callboard deploy DIR`. `callboard new NAME` creates one to start from."
        return warning("Projects", "No project is deployed.", fix)
    waiting = [manifest.project for manifest in deployed if not offered[manifest.project]]
    if waiting:
        fix = (
            "Start `callboard worker` with CALLBOARD_ROLE set to all or browser, and CALLBOARD_PROJECTS unset or with"
            " these projects."
        )
        return failed("Projects", f"No worker offers a Machine for {', '.join(waiting)}: their Runs wait.", fix)
    crowded = [
        f"{manifest.project} ({offered[manifest.project]} for {manifest.settings.machines})"
        for manifest in deployed
        if offered[manifest.project] > manifest.settings.machines
    ]
    if crowded:
        fix = (
            "After a worker was killed, and while Machines move, look again in some minutes: `callboard fleet` says who"
            " has which now. Otherwise upgrade all workers, since earlier versions take no lease."
        )
        return warning(
            "Projects", f"The workers offer more Machines than the settings allow: {', '.join(crowded)}.", fix
        )
    machines = sum(offered.values())
    what = "1 project is deployed" if len(deployed) == 1 else f"{len(deployed)} projects are deployed"
    return ok("Projects", f"{what}, with {machines} Machine{'' if machines == 1 else 's'}")


async def _count_offered_machines(client: Client, deployed: list[Manifest]) -> dict[str, int]:
    """Return the number of Machines that workers offer, by project.

    If Temporal keeps no heartbeats of workers, a project with any worker counts as having all its Machines.
    """
    health = TemporalHealth(client)
    known = await health.count_offered_machines()
    if known is not None:
        return {manifest.project: known.get(manifest.project, 0) for manifest in deployed}
    return {
        manifest.project: manifest.settings.machines if await health.has_pollers(manifest.project) else 0
        for manifest in deployed
    }
