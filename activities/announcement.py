"""Signals of an Attempt that has been on a Machine for a moment: to its Run, to who waits for it, and on record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.beside import beside
from activities.progress import Progress
from activities.records import Records
from contract.flow import names
from contract.flow.attempt import AttemptInput, AttemptKind, AttemptStarted, AttemptStatus

log = logging.getLogger(__name__)

ANNOUNCE_AFTER = 0.5
"""Seconds. An Attempt that is over sooner says nothing of its start: that would cost its Run a workflow task."""
_RECORD_PATIENCE = timedelta(seconds=5)


class Announcements:
    """Made by the activities of Attempts."""

    def __init__(self, client: Client, records: Records) -> None:
        self._client = client
        self._records = records

    @asynccontextmanager
    async def of(self, attempt: AttemptInput, progress: Progress) -> AsyncGenerator[None]:
        """Signal the start of the Attempt if the block lasts for a moment, and write it down."""
        run = self._client.get_workflow_handle(attempt.run_id, run_id=activity.info().workflow_run_id)

        async def announce() -> None:
            await asyncio.sleep(ANNOUNCE_AFTER)
            await _signal(run, names.ATTEMPT_STARTED, progress.started())
            if attempt.kind is AttemptKind.CHECK and attempt.parent_run_id is not None:
                waiting = self._client.get_workflow_handle(attempt.parent_run_id)
                await _signal(waiting, names.VALIDATE_STARTED, attempt.number)
            record = progress.record(AttemptStatus.STARTED)
            await self._records.write_first(attempt.project, record, within=_RECORD_PATIENCE)

        async with beside(announce(), "announcement"):
            yield


async def _signal(run: WorkflowHandle[object, object], signal: str, value: AttemptStarted | int) -> None:
    try:
        await run.signal(signal, value)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # The Run may be over.
            log.warning("Run %s: its start could not be signaled: %s", run.id, error.message)
