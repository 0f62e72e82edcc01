"""Report the Attempts of dead workers of this host as lost when a worker starts, so that their Runs go on at once."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from temporalio.client import Client
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError

from activities.workers.worker_dir import JournalEntry, dead_workers
from schemas.workflow.attempt import INTERRUPTED, AttemptKind

log = logging.getLogger(__name__)


async def recover_dead_workers(client: Client, workers: Path, groups: Path | None = None) -> list[str]:
    """Clean up after the dead workers below `workers`, report their Attempts as lost, and return their names.

    The processes are ended first: a Run must not try again while the lost Attempt's browser still acts. `groups`
    is the folder of the control group that is delegated to this worker, if one is.
    """
    names: list[str] = []
    for dead in await asyncio.to_thread(dead_workers, workers):
        log.warning("worker %s ended without leaving; %d Attempt(s) lost", dead.folder.name, len(dead.attempts))
        await asyncio.to_thread(dead.end_machines, groups)
        await asyncio.to_thread(dead.remove)
        for entry in dead.attempts:
            await _report_interrupted(client, entry)
        names.append(dead.folder.name)
    return names


async def _report_interrupted(client: Client, entry: JournalEntry) -> None:
    # The task token identifies this try; a check or create keeps its activity id when it is tried again, perhaps
    # elsewhere.
    handle = client.get_async_activity_handle(task_token=entry.task_token)
    try:
        message = "The worker that ran the Attempt was lost."
        # Temporal tries checks and creates again. The Attempt of an API is over, also where a pause would keep it.
        non_retryable = entry.kind is AttemptKind.API
        await handle.fail(
            ApplicationError(message, entry.run_id, entry.number, type=INTERRUPTED, non_retryable=non_retryable)
        )
    except RPCError as error:  # its Run is over, or its heartbeat timeout has reported it already or will
        log.info("Run %s, Attempt %d: %s", entry.run_id, entry.number, error.message)
