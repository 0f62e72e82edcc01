"""The check whether Runs of a project begin in the order in which they were accepted."""

from __future__ import annotations

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.namespace_steps import is_cloud
from temporal.pollers import PARTITION_KEYS, count_partitions

_CHECK = "Order of Runs"
_MOST_NAMES = 3
"""How many task queues a finding names."""


async def check_order(client: Client, store: Store | None) -> Finding:
    """Check that Temporal keeps the order of Runs in the task queue of each deployed project."""
    if is_cloud(client):
        return skipped(
            _CHECK,
            "Temporal Cloud divides task queues as it sees fit: of Runs that wait at the same time, later ones may"
            " begin first (docs/temporal-cloud.md).",
        )
    if store is None:
        return skipped(_CHECK, "The artifact store cannot be used, so the deployed projects are not known.")
    try:
        # As long as no project is deployed, a queue that does not exist yet tells what the first one would get.
        projects = await Catalog(store).list_projects() or ["PROJECT"]
        queues = [names.project_queue(project) for project in projects]
        counts = {queue: await count_partitions(client, queue) for queue in queues}
    except (StoreError, Unavailable, ConfigurationError) as error:
        return failed(_CHECK, error.message, "Try again; if the error stays, fix what it names.")
    if None in counts.values():
        return skipped(_CHECK, "Temporal does not tell this client how it divides task queues.")
    divided = {queue: count for queue, count in counts.items() if count is not None and count > 1}
    if divided:
        return warning(_CHECK, _divided(divided), order_fix(*list(divided)[:_MOST_NAMES]))
    return ok(_CHECK, "The Runs of each project begin in the order in which they were accepted")


def order_fix(*queues: str) -> str:
    """Return what an operator has to do so that Temporal keeps the order of Runs in these task queues."""
    return (
        f"Set {' and '.join(PARTITION_KEYS)} to 1 in Temporal's dynamic configuration, for {' and '.join(queues)}"
        " (docs/operations.md, The order of Runs)."
    )


def _divided(divided: dict[str, int]) -> str:
    named = [f"{queue} ({count})" for queue, count in list(divided.items())[:_MOST_NAMES]]
    if len(divided) > _MOST_NAMES:
        named.append(f"{len(divided) - _MOST_NAMES} more")
    return (
        "Of Runs that wait at the same time, later ones may begin first, as Temporal divides these task queues into"
        f" several partitions: {', '.join(named)}."
    )
