"""`callboard fleet`: which worker has how many Machines of which project, and what is missing."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from cli.doctor.target import find_installation
from cli.output import print_heading, print_json, print_table
from schemas.workflow.fleet import FleetState
from settings import Settings
from temporal.client import connect
from temporal.fleet import FleetClient


def fleet(
    data: Annotated[
        Path | None, typer.Option(help="Data folder. Default: CALLBOARD_DATA_DIR, else ~/.local/share/callboard.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show which worker has how many Machines, and what is missing.

    This asks the Temporal of the environment, or that of the `callboard dev` that runs on the data folder.
    """
    settings = find_installation(data).settings
    state = asyncio.run(_read(settings)) or FleetState()
    shown = describe_fleet(state, datetime.now(UTC))
    if as_json:
        print_json(shown)
        return
    workers = [
        (each["worker"], each["host"], f"{each['machines']} of {each['capacity']}", each["state"])
        for each in shown["workers"]
    ]
    print_table(("WORKER", "HOST", "MACHINES", "STATE"), workers)
    print_heading("Projects")
    projects = [
        (each["project"], f"{each['held']} of {each['machines']}", each["workers"], each["missing"] or "")
        for each in shown["projects"]
    ]
    print_table(("PROJECT", "MACHINES", "WORKERS", "MISSING"), projects)


async def _read(settings: Settings) -> FleetState | None:
    client = await connect(settings, lazy=True, identity="callboard-fleet")
    return await FleetClient(client).read_state()


def describe_fleet(state: FleetState, now: datetime) -> dict[str, Any]:
    """Return who holds what and what is missing, as JSON."""
    live = {name: member for name, member in sorted(state.members.items()) if member.expires_at > now}
    workers = [
        {
            "worker": name,
            "host": member.host,
            "capacity": member.capacity,
            "machines": sum(member.counted(project) for project in {*member.shares, *member.held}),
            "projects": {project: member.counted(project) for project in sorted({*member.shares, *member.held})},
            "state": "leaving" if member.leaving else "serving",
        }
        for name, member in live.items()
    ]
    projects: list[dict[str, Any]] = []
    for project, size in sorted(state.projects.items()):
        held = {name: count for name, member in live.items() if (count := member.counted(project))}
        short = size.machines - sum(held.values())
        serving = [member for member in live.values() if project in member.projects and not member.leaving]
        missing = None
        if not serving:
            missing = "no worker serves it"
        elif short > 0 and any(member.plan.get(project, 0) > member.shares.get(project, 0) for member in serving):
            missing = f"{short}, which a worker is about to get"
        elif short > 0:
            missing = f"{short}, as its workers have no room for more"
        projects.append(
            {
                "project": project,
                "machines": size.machines,
                "held": sum(held.values()),
                "workers": ", ".join(f"{name} ({count})" for name, count in held.items()),
                "missing": missing,
            }
        )
    return {"workers": workers, "projects": projects}
