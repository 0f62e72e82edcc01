"""The check of the limit on the Machines of all projects together."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from cli.doctor.target import Installation
from projects.catalog import Catalog
from schemas.errors import StoreError, Unavailable
from storage.store import Store
from temporal.fleet import FleetClient
from temporal.fleet_view import describe_fleet

_CHECK = "Limit of Machines"


async def check_limit(client: Client, store: Store | None, place: Installation) -> Finding:
    """Check that all projects together have no more Machines than they may, and that workers have the same limit."""
    if store is None:
        return skipped(_CHECK, "The artifact store cannot be used, so the deployed projects are not known.")
    try:
        wanted = sum((await Catalog(store).sizes()).values())
        state = await FleetClient(client).read_state()
    except StoreError as error:
        return failed(_CHECK, error.message, "Try again; if the error stays, fix what it names.")
    except Unavailable as error:
        return skipped(_CHECK, error.message)
    fleet = describe_fleet(state, datetime.now(UTC))
    # What was set for `callboard dev` is known from its worker alone.
    limit = fleet.limit if place.dev else place.settings.max_machines
    others = sorted(worker.worker for worker in fleet.workers if worker.limit != limit)
    if others:
        return warning(
            _CHECK,
            f"CALLBOARD_MAX_MACHINES is {_said(limit)} here, and otherwise on the workers {', '.join(others)}. Workers"
            f" keep to the smallest number that one of them has, which is {_said(fleet.limit)}.",
            "Set it to the same number for all workers and wherever somebody deploys, and restart the workers.",
        )
    if limit is None:
        return ok(_CHECK, f"There is none (CALLBOARD_MAX_MACHINES); all projects together have {wanted}")
    if wanted > limit:
        return warning(
            _CHECK,
            f"All projects together ask for {wanted} Machines, and may have {limit} (CALLBOARD_MAX_MACHINES). The"
            " largest projects get fewer.",
            "Lower replication.maxConcurrentRequests of projects, or raise CALLBOARD_MAX_MACHINES.",
        )
    return ok(_CHECK, f"All projects together may have {limit} Machines, and have {wanted}")


def _said(limit: int | None) -> str:
    return "not set" if limit is None else str(limit)
