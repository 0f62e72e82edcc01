"""Execute one Attempt on this worker, so that it can be stopped, and store what it leaves, however it ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.attempts.attempt_artifacts import upload_artifacts
from activities.attempts.attempt_log import last_line, open_log
from activities.attempts.attempt_records import failure, interruption
from activities.attempts.attempt_steps import AttemptResources, run_on_machine
from activities.attempts.running_attempts import Cause, RunningAttempt
from activities.heartbeat import background_task, forward_cancellation, heartbeats, record_heartbeat
from activities.workers.worker_dir import JournalEntry
from machines.lease import LeaseEndedError
from schemas.workflow import names
from schemas.workflow.attempt import (
    INTERRUPTED,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStarted,
    AttemptStatus,
)
from schemas.workflow.run import RunError
from telemetry import metrics

log = logging.getLogger(__name__)

RECORD_TIMEOUT = timedelta(seconds=30)
"""How long an outcome waits for its record to be written: a lost record fails nothing, and must not hold up a Run."""
STOPPED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the outcome of a stopped Attempt waits for its record: somebody waits for the Attempt's end."""
ARTIFACTS_TIMEOUT = timedelta(seconds=20)
"""How long an outcome waits for the Attempt's log, trace and screenshot to be stored."""
SIGNAL_AFTER = 1.0
"""Seconds before the start is signaled. A shorter Attempt sends no start signal: that would cost its Run a workflow
task. A cancel that comes sooner stops the Attempt by its first heartbeat, which is sent at the same time."""
_START_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the store is retried for the record of the start."""


async def execute_attempt(resources: AttemptResources, attempt: AttemptInput) -> AttemptOutcome:
    """Execute the Attempt; its result and record are stored when this returns or raises.

    Raises:
        ApplicationError: Of type `AttemptInterrupted`, `NoLogin` or `AuthSessionGone`: there is no outcome.
    """
    with resources.worker_dir.evidence(attempt.run_id, attempt.number) as folder:
        async with open_log(resources.store, attempt, folder, resources.log_policy) as attempt_log:
            running = RunningAttempt(attempt, activity.info(), worker=resources.worker, log=attempt_log, folder=folder)
            running.begin(run_on_machine(resources, running))
            entry = JournalEntry(attempt.run_id, attempt.number, activity.info().task_token, attempt.kind)
            # The Attempt is in both or in neither at any moment: nothing is awaited between the two.
            with resources.worker_dir.journal(entry), resources.running_attempts.register(running):
                finalizing = _await_and_finalize(resources, running)
                return await forward_cancellation(finalizing, running.on_cancellation)


async def _await_and_finalize(resources: AttemptResources, running: RunningAttempt) -> AttemptOutcome:
    """Await the Attempt's task with heartbeats, and store what it left before its end is returned or raised."""
    task, details = running.task, running.heartbeat_details
    async with heartbeats(running.on_cancellation, details=details, on_silence=running.on_silence):
        # The record of the start is written with the start signals: it must not come after that of the end. It is
        # no part of the task, so that no stop reaches a task whose outcome exists.
        async with background_task(_signal_start(resources, running), "start signals"):
            await asyncio.wait({task})
        running.mark_ended()
        lost = _lease_end(task)
        if lost is not None and running.cause is None:
            running.cause, running.message = Cause.INTERRUPTED, str(lost)
        if lost is None and not task.cancelled():
            # The task is done, so no stop can reach it any more: an outcome that exists stands.
            try:
                outcome = task.result().model_copy(update={"started_at": running.started_at})
            except Exception as error:
                await _finalize(resources, running, AttemptStatus.FAILED, failure(error), within=RECORD_TIMEOUT)
                raise
            await _finalize(resources, running, outcome.status, outcome.error, outcome=outcome, within=RECORD_TIMEOUT)
            return outcome
        if running.cause is Cause.CANCELED:
            await _finalize(resources, running, AttemptStatus.CANCELED, within=STOPPED_RECORD_TIMEOUT)
            return AttemptOutcome(status=AttemptStatus.CANCELED, started_at=running.started_at)
        error = interruption(running.message)
        await _finalize(resources, running, AttemptStatus.INTERRUPTED, error, within=STOPPED_RECORD_TIMEOUT)
        raise ApplicationError(
            running.message,
            running.input.run_id,
            running.input.number,
            type=INTERRUPTED,
            # An API's Attempt is tried again by its workflow, which counts; a check or create is retried by Temporal.
            non_retryable=running.input.kind is AttemptKind.API,
        )


async def _signal_start(resources: AttemptResources, running: RunningAttempt) -> None:
    """Report an Attempt that lasts for a moment: to its Run, to a waiting parent Run, and in its record."""
    await asyncio.sleep(SIGNAL_AFTER)
    attempt = running.input
    run = resources.client.get_workflow_handle(attempt.run_id, run_id=activity.info().workflow_run_id)
    if running.on_machine is not None and running.on_machine.waits:
        await _signal(run, names.ATTEMPT_STARTED, running.start_signal())
        await _record_waiting(running)
        await running.on_machine.room()
    await _signal(run, names.ATTEMPT_STARTED, running.start_signal())
    if attempt.kind is AttemptKind.CHECK and attempt.parent_run_id is not None:
        waiting = resources.client.get_workflow_handle(attempt.parent_run_id)
        await _signal(waiting, names.VALIDATE_STARTED, attempt.number)
    record = running.record(AttemptStatus.STARTED)
    await resources.records.write_if_absent(attempt.project, record, within=_START_RECORD_TIMEOUT)


async def _signal(run: WorkflowHandle[object, object], signal: str, value: AttemptStarted | int) -> None:
    try:
        await run.signal(signal, value)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # The Run may be over.
            log.warning("Run %s: its start could not be signaled: %s", run.id, error.message)


async def _record_waiting(running: RunningAttempt) -> None:
    """Have Temporal show at once, and not only with the next heartbeat, that the Attempt waits."""
    try:
        await record_heartbeat(*running.heartbeat_details())
    except RPCError as error:
        log.info("A heartbeat could not be recorded: %s", error.message)


async def _finalize(
    resources: AttemptResources,
    running: RunningAttempt,
    status: AttemptStatus,
    error: RunError | None = None,
    *,
    outcome: AttemptOutcome | None = None,
    within: timedelta,
) -> None:
    """Store the Attempt's log, trace and screenshot, and finally its record.

    The record lists what is stored, and holds the outcome, so that it counts even if Temporal does not hear of it.
    """
    attempt = running.input
    duration = running.duration if running.has_started else None
    metrics.current().attempt_ended(attempt.project, status=status, duration=duration)
    upload_within = min(within, ARTIFACTS_TIMEOUT)
    running.stored_log, running.artifacts = await asyncio.gather(
        running.log.store(*last_line(status, error, running.duration), within=upload_within),
        upload_artifacts(
            resources.store,
            resources.redactor,
            attempt,
            running.on_machine,
            status,
            running.masker,
            within=upload_within,
        ),
    )
    await resources.records.write(attempt.project, running.record(status, error), outcome, within=within)
    code = "" if error is None else f" ({error.code})"
    seconds = running.duration.total_seconds()
    log.info("Attempt %d of Run %s: %s%s after %.1f s", attempt.number, attempt.run_id, status, code, seconds)


def _lease_end(task: asyncio.Task[AttemptOutcome]) -> LeaseEndedError | None:
    """Return the error of an Attempt that was given up because the worker's lease is over; None for any other end."""
    error = None if task.cancelled() else task.exception()
    return error if isinstance(error, LeaseEndedError) else None
