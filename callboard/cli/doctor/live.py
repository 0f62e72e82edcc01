"""Checks that browser workers reach an api process, as they must for somebody to watch their Attempts."""

from __future__ import annotations

import asyncio
import secrets

from temporalio.api.enums.v1 import TaskQueueType
from temporalio.client import Client

from callboard.cli.doctor.findings import Finding, failed, ok, warning
from callboard.schemas.errors import ConfigurationError, Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.live import DialInput
from callboard.settings import Settings
from callboard.temporal.live_dials import LiveDials
from callboard.temporal.pollers import fetch_pollers, list_pollers
from callboard.temporal.rpc_errors import translate_operator_errors

_CHECK = "Live view"
_MOST_WORKERS = 20
"""How many workers are asked."""


async def check_live_view(client: Client, settings: Settings) -> Finding:
    """Have each browser worker call the api at its address for workers, and wait for one sealed answer."""
    try:
        workers = await _browser_workers(client)
        problems = await asyncio.gather(*(_problem(client, settings, worker) for worker in workers))
    except (Unavailable, ConfigurationError) as error:
        return failed(_CHECK, error.message, "Try again; if the error stays, look at Temporal's log.")
    if not workers:
        fix = "Start `callboard worker` with CALLBOARD_ROLE set to all or browser."
        return warning(_CHECK, "No browser worker runs, so nobody can watch an Attempt.", fix)
    found = [problem for problem in problems if problem is not None]
    # What says what to set has tried the way. Else the worker has not answered: it may have ended a moment ago, as with
    # each upgrade, since Temporal remembers it for some minutes.
    cut_off = [problem for problem in found if " Set " in problem]
    if cut_off:
        what, _, fix = cut_off[0].partition(" Set ")
        more = f" {len(found) - 1} other worker(s) have a problem, too." if len(found) > 1 else ""
        return failed(_CHECK, f"{what}{more}", f"Set {fix}")
    if found:
        fix = "Ask again in five minutes: Temporal remembers workers that have ended. If it stays, look at their logs."
        return (warning if len(found) < len(workers) else failed)(_CHECK, " ".join(found), fix)
    return ok(_CHECK, f"{len(workers)} browser worker(s) reach the api at {settings.live_url}")


async def _browser_workers(client: Client) -> list[str]:
    """Return the names of workers that have a queue of their own, as those with Machines do."""
    serving = sorted(await list_pollers(client, names.FLEET_QUEUE))[:_MOST_WORKERS]
    with translate_operator_errors(client, "describe the queues of workers"):
        polled = await asyncio.gather(
            *(
                fetch_pollers(client, names.worker_queue(worker), TaskQueueType.TASK_QUEUE_TYPE_ACTIVITY)
                for worker in serving
            )
        )
    return [worker for worker, pollers in zip(serving, polled, strict=True) if pollers]


async def _problem(client: Client, settings: Settings, worker: str) -> str | None:
    """Return why a worker does not reach the api, and what to do. Raises Unavailable."""
    view = secrets.token_urlsafe(12)
    dial = DialInput(project="", run_id=None, number=0, worker=worker, address=settings.live_url, view=view)
    return (await LiveDials(client).dial(dial)).problem
