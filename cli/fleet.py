"""`callboard fleet`: which worker has how many Machines of which project, and what is missing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any

from cli.doctor.target import find_installation
from cli.options import AsJson, DataFolder
from cli.output import print_heading, print_json, print_message, print_table
from projects.catalog import Catalog
from schemas.errors import CallboardError
from schemas.workflow.fleet import FleetState
from settings import Settings
from storage.factory import open_store
from temporal.client import connect
from temporal.fleet import FleetClient
from temporal.fleet_view import FleetView, describe_fleet


def fleet(
    data: DataFolder = None,
    as_json: AsJson = False,
) -> None:
    """Show which worker has how many Machines, and what is missing.

    This asks the Temporal and the artifact store of the environment, or those of the `callboard dev` that runs on the
    data folder.
    """
    place = find_installation(data)
    if place.hint:
        print_message(place.hint)
    view = asyncio.run(_read_view(place.settings))
    if as_json:
        print_json(format_fleet(view))
        return
    print_table(
        ("WORKER", "HOST", "MACHINES", "STATE"),
        [
            (worker.worker, worker.host, f"{worker.held} of {worker.capacity}", _state(leaving=worker.leaving))
            for worker in view.workers
        ],
    )
    print_heading("Projects" if view.limit is None else f"Projects, of which all together may have {view.limit}")
    print_table(
        ("PROJECT", "MACHINES", "WORKERS", "MISSING"),
        [
            (
                project.project,
                f"{project.held} of {project.wanted}",
                ", ".join(f"{name} ({count})" for name, count in project.workers.items()),
                project.shortage or "",
            )
            for project in view.projects.values()
        ],
    )


async def _read_view(settings: Settings) -> FleetView:
    state = await _read_state(settings)
    sizes = {project: size.machines for project, size in state.projects.items()}
    try:
        deployed = await Catalog(open_store(settings.artifact_location, endpoint=settings.artifacts_endpoint)).sizes()
    except CallboardError as error:
        print_message(f"{error.message} Projects that no worker serves are not shown.")
        deployed = {}
    return describe_fleet(state, datetime.now(UTC), sizes | deployed)


async def _read_state(settings: Settings) -> FleetState:
    client = await connect(settings, identity="callboard-fleet")
    return await FleetClient(client).read_state()


def format_fleet(view: FleetView) -> dict[str, Any]:
    """Return what `--json` prints."""
    return {
        "limit": view.limit,
        "workers": [
            {
                "worker": worker.worker,
                "host": worker.host,
                "capacity": worker.capacity,
                "machines": worker.held,
                "projects": dict(worker.projects),
                "state": _state(leaving=worker.leaving),
            }
            for worker in view.workers
        ],
        "projects": [
            {
                "project": project.project,
                "machines": project.wanted,
                "held": project.held,
                "workers": dict(project.workers),
                "missing": project.missing,
                "reason": project.reason,
                "message": project.shortage,
            }
            for project in view.projects.values()
        ],
    }


def _state(*, leaving: bool) -> str:
    return "leaving" if leaving else "serving"
