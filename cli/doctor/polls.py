"""The check whether Temporal lets workers poll for as many projects as there are."""

from __future__ import annotations

from datetime import UTC, datetime

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok, skipped, warning
from projects.catalog import Catalog
from schemas.errors import ConfigurationError, StoreError, Unavailable
from schemas.workflow import names
from storage.store import Store
from temporal.fleet import FleetClient
from temporal.fleet_view import describe_fleet
from temporal.namespace_steps import is_cloud
from temporal.pollers import list_pollers
from temporal.polls import CLOUD_POLLS, DEFAULT_FRONTEND_POLLS, count_activity_polls

_CHECK = "Polls"


async def check_polls(client: Client, store: Store | None) -> Finding:
    """Compare the polls that workers need with what a frontend of Temporal allows, of which it tells nothing."""
    if store is None:
        return skipped(_CHECK, "The artifact store cannot be used, so the deployed projects are not known.")
    try:
        deployed = await Catalog(store).sizes()
        fleet = describe_fleet(await FleetClient(client).read_state(), datetime.now(UTC), deployed)
        idle, most = count_activity_polls(fleet, await list_pollers(client, names.CALLBOARD_QUEUE))
    except (StoreError, ConfigurationError) as error:
        return failed(_CHECK, error.message, "Try again; if the error stays, fix what it names.")
    except Unavailable as error:
        return skipped(_CHECK, error.message)
    found = (
        f"Workers poll for Attempts and other activities {idle} times at once while all projects are idle, and up to"
        f" {most} times"
    )
    cloud = is_cloud(client)
    limit = CLOUD_POLLS if cloud else DEFAULT_FRONTEND_POLLS
    allowed = f"Temporal Cloud allows {limit}" if cloud else f"a frontend of Temporal allows {limit} by default"
    if most <= limit:
        return ok(_CHECK, f"{found}; {allowed}")
    if cloud:
        return warning(_CHECK, f"{found}, but {allowed}.", "Ask Temporal's support for more, or deploy fewer projects.")
    enough = -(-most // 100) * 100
    return warning(
        _CHECK,
        f"{found}, but {allowed}. What it refuses is polled again later, so Runs wait longer for each step.",
        f"Unless it is set already, set frontend.namespaceCount to {enough} in Temporal's dynamic configuration"
        " (docs/operations.md, More Machines).",
    )
