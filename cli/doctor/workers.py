"""Checks that there is a worker for each task queue and for each project."""

from __future__ import annotations

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from projects.catalog import Catalog
from projects.manifest import Manifest
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.pollers import list_pollers
from temporal.runs import Runs

_CONSEQUENCES = {names.CALLBOARD_QUEUE: "no Run begins", names.DELIVERIES_QUEUE: "no result is delivered"}
"""Task queues, and the consequence if no worker serves them."""


async def check_workers(client: Client) -> Finding:
    """Check for workers that sequence Runs and deliver results."""
    try:
        serving = {queue: await list_pollers(client, queue) for queue in _CONSEQUENCES}
    except (Unavailable, ConfigurationError) as error:
        return failed("Workers", error.message, "Look again; if it stays so, look into Temporal's log.")
    idle = [f"nobody serves the queue {queue}: {_CONSEQUENCES[queue]}" for queue, found in serving.items() if not found]
    if idle:
        found = "; ".join(idle)
        mend = "Start `callboard worker`, with CALLBOARD_ROLE all or control."
        return failed("Workers", f"{found[0].upper()}{found[1:]}.", mend)
    number = len(set[str]().union(*serving.values()))
    return ok("Workers", f"{number} serve{'s' if number == 1 else ''} the queues {' and '.join(_CONSEQUENCES)}")


async def check_projects(client: Client, store: Store | None) -> Finding:
    """Check that workers offer Machines for each deployed project."""
    if store is None:
        return skipped("Projects", "The artifact store says which are deployed, and cannot be used.")
    try:
        catalog = Catalog(store)
        deployed = [manifest for name in await catalog.list_projects() if (manifest := await catalog.get_current(name))]
        offered = await _count_offered_machines(client, deployed)
    except (StoreError, Unavailable, ConfigurationError) as error:
        return failed("Projects", error.message, "Look again; if it stays so, mend what is named there.")
    if not deployed:
        mend = "Publish one: `callboard deploy DIR`. `callboard new NAME` makes one to begin with."
        return warning("Projects", "None is deployed.", mend)
    waiting = [manifest.project for manifest in deployed if not offered[manifest.project]]
    if waiting:
        mend = (
            "Start `callboard worker`, with CALLBOARD_ROLE all or browser and CALLBOARD_PROJECTS without or with these."
        )
        return failed("Projects", f"No worker offers a Machine for {', '.join(waiting)}: their Runs wait.", mend)
    crowded = [
        f"{manifest.project} ({offered[manifest.project]} for {manifest.settings.machines})"
        for manifest in deployed
        if offered[manifest.project] > manifest.settings.machines
    ]
    if crowded:
        mend = "Give each worker its share with `--machines`, or raise replication.maxConcurrentRequests."
        return warning("Projects", f"There are more Machines than the settings say: {', '.join(crowded)}.", mend)
    machines = sum(offered.values())
    what = "1 is deployed" if len(deployed) == 1 else f"{len(deployed)} are deployed"
    return ok("Projects", f"{what}, with {machines} Machine{'' if machines == 1 else 's'}")


async def _count_offered_machines(client: Client, deployed: list[Manifest]) -> dict[str, int]:
    """Return the number of Machines that workers offer, by project.

    If Temporal keeps no heartbeats of workers, a project with any worker counts as having all its Machines.
    """
    runs = Runs(client)
    known = await runs.count_offered_machines()
    if known is not None:
        return {manifest.project: known.get(manifest.project, 0) for manifest in deployed}
    return {
        manifest.project: manifest.settings.machines if await runs.has_pollers(manifest.project) else 0
        for manifest in deployed
    }
