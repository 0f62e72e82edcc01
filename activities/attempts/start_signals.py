"""Report an Attempt that has been on a Machine for a moment: to its Run, to a waiting parent Run, and in its record."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError, RPCStatusCode

from activities.attempts.attempt_progress import AttemptProgress
from activities.attempts.attempt_records import AttemptRecords
from activities.background import background_task
from activities.heartbeat import record_heartbeat
from schemas.workflow import names
from schemas.workflow.attempt import AttemptInput, AttemptKind, AttemptStarted, AttemptStatus

log = logging.getLogger(__name__)

SIGNAL_AFTER = 0.5
"""Seconds before the start is signaled. A shorter Attempt sends no start signal: that would cost its Run a workflow
task."""
_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the store is retried for the record of the start."""


class StartSignals:
    """Sends the start signals of Attempts, and then writes the record of their starts."""

    def __init__(self, client: Client, records: AttemptRecords) -> None:
        self._client = client
        self._records = records

    @asynccontextmanager
    async def sending(self, attempt: AttemptInput, progress: AttemptProgress) -> AsyncGenerator[None]:
        """Signal and record the start of the Attempt if the block lasts for a moment."""
        run = self._client.get_workflow_handle(attempt.run_id, run_id=activity.info().workflow_run_id)

        async def signal_start() -> None:
            await asyncio.sleep(SIGNAL_AFTER)
            if progress.room_wait.waits:
                await _signal(run, names.ATTEMPT_STARTED, progress.start_signal())
                await _record_waiting(progress)
                await progress.room_wait.over()
            await _signal(run, names.ATTEMPT_STARTED, progress.start_signal())
            if attempt.kind is AttemptKind.CHECK and attempt.parent_run_id is not None:
                waiting = self._client.get_workflow_handle(attempt.parent_run_id)
                await _signal(waiting, names.VALIDATE_STARTED, attempt.number)
            record = progress.record(AttemptStatus.STARTED)
            await self._records.write_if_absent(attempt.project, record, within=_RECORD_TIMEOUT)

        async with background_task(signal_start(), "start signals"):
            yield


async def _record_waiting(progress: AttemptProgress) -> None:
    """Have Temporal show at once, and not only with the next heartbeat, that the Attempt waits."""
    try:
        await record_heartbeat(*progress.heartbeat_details())
    except RPCError as error:
        log.info("A heartbeat could not be recorded: %s", error.message)


async def _signal(run: WorkflowHandle[object, object], signal: str, value: AttemptStarted | int) -> None:
    try:
        await run.signal(signal, value)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # The Run may be over.
            log.warning("Run %s: its start could not be signaled: %s", run.id, error.message)
