"""The check that there is a worker for each task queue."""

from __future__ import annotations

from temporalio.client import Client

from cli.doctor.findings import Finding, failed, ok
from schemas.errors import ConfigurationError, Unavailable
from schemas.workflow import names
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
