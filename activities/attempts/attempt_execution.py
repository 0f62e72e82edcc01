"""Execute one Attempt on this worker, so that it can be stopped, and store what it leaves, however it ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.service import RPCError, RPCStatusCode

from activities.attempts.attempt_artifacts import UploadedArtifacts, upload_artifacts
from activities.attempts.attempt_context import AttemptInFlight, AttemptResources, Cause, RunningAttempt
from activities.attempts.attempt_log import last_line, open_log
from activities.attempts.attempt_records import failure, interruption
from activities.attempts.attempt_steps import run_on_machine
from activities.heartbeat import background_task, forward_cancellation, heartbeats, record_heartbeat
from activities.workers.worker_dir import JournalEntry
from machines.attempt_spec import AttemptEvidence
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
            evidence = AttemptEvidence(folder, attempt.trace, resources.trace_limit)
            in_flight = AttemptInFlight(attempt, resources.worker, evidence, attempt_log)
            task = asyncio.create_task(
                run_on_machine(resources, in_flight), name=f"attempt {attempt.run_id} {attempt.number}"
            )
            entry = JournalEntry(attempt.run_id, attempt.number, activity.info().task_token, attempt.kind)
            # The Attempt is in both or in neither at any moment: nothing is awaited between the two.
            with (
                resources.worker_dir.journal(entry),
                resources.running_attempts.register(attempt.run_id, attempt.number, task) as running_attempt,
            ):
                finalizing = _await_and_finalize(resources, in_flight, running_attempt, task)
                return await forward_cancellation(finalizing, running_attempt.on_cancellation)


async def _await_and_finalize(
    resources: AttemptResources,
    in_flight: AttemptInFlight,
    running_attempt: RunningAttempt,
    task: asyncio.Task[AttemptOutcome],
) -> AttemptOutcome:
    """Await the Attempt's task with heartbeats, and store what it left before its end is returned or raised."""
    details = in_flight.heartbeat_details
    async with heartbeats(running_attempt.on_cancellation, details=details, on_silence=running_attempt.on_silence):
        # The record of the start is written with the start signals: it must not come after that of the end. It is
        # no part of the task, so that no stop reaches a task whose outcome exists.
        async with background_task(_signal_start(resources, in_flight), "start signals"):
            await asyncio.wait({task})
        in_flight.mark_ended()
        lost = _lease_end(task)
        if lost is not None and running_attempt.cause is None:
            running_attempt.cause, running_attempt.message = Cause.INTERRUPTED, str(lost)
        if lost is None and not task.cancelled():
            # The task is done, so no stop can reach it any more: an outcome that exists stands.
            try:
                outcome = task.result().model_copy(update={"started_at": in_flight.started_at})
            except Exception as error:
                await _finalize(resources, in_flight, AttemptStatus.FAILED, failure(error), within=RECORD_TIMEOUT)
                raise
            await _finalize(resources, in_flight, outcome.status, outcome.error, outcome=outcome, within=RECORD_TIMEOUT)
            return outcome
        if running_attempt.cause is Cause.CANCELED:
            await _finalize(resources, in_flight, AttemptStatus.CANCELED, within=STOPPED_RECORD_TIMEOUT)
        else:
            error = interruption(running_attempt.message)
            await _finalize(resources, in_flight, AttemptStatus.INTERRUPTED, error, within=STOPPED_RECORD_TIMEOUT)
    if running_attempt.cause is Cause.CANCELED:
        return AttemptOutcome(status=AttemptStatus.CANCELED, started_at=in_flight.started_at)
    raise ApplicationError(
        running_attempt.message,
        in_flight.input.run_id,
        in_flight.input.number,
        type=INTERRUPTED,
        # An API's Attempt is tried again by its workflow, which counts; a check or create is retried by Temporal.
        non_retryable=in_flight.input.kind is AttemptKind.API,
    )


async def _signal_start(resources: AttemptResources, in_flight: AttemptInFlight) -> None:
    """Report an Attempt that lasts for a moment: to its Run, to a waiting parent Run, and in its record."""
    await asyncio.sleep(SIGNAL_AFTER)
    attempt = in_flight.input
    run = resources.client.get_workflow_handle(attempt.run_id, run_id=activity.info().workflow_run_id)
    if in_flight.room_wait.waits:
        await _signal(run, names.ATTEMPT_STARTED, in_flight.start_signal())
        await _record_waiting(in_flight)
        await in_flight.room_wait.over()
    await _signal(run, names.ATTEMPT_STARTED, in_flight.start_signal())
    if attempt.kind is AttemptKind.CHECK and attempt.parent_run_id is not None:
        waiting = resources.client.get_workflow_handle(attempt.parent_run_id)
        await _signal(waiting, names.VALIDATE_STARTED, attempt.number)
    record = in_flight.record(AttemptStatus.STARTED)
    await resources.records.write_if_absent(attempt.project, record, within=_START_RECORD_TIMEOUT)


async def _signal(run: WorkflowHandle[object, object], signal: str, value: AttemptStarted | int) -> None:
    try:
        await run.signal(signal, value)
    except RPCError as error:
        if error.status is not RPCStatusCode.NOT_FOUND:  # The Run may be over.
            log.warning("Run %s: its start could not be signaled: %s", run.id, error.message)


async def _record_waiting(in_flight: AttemptInFlight) -> None:
    """Have Temporal show at once, and not only with the next heartbeat, that the Attempt waits."""
    try:
        await record_heartbeat(*in_flight.heartbeat_details())
    except RPCError as error:
        log.info("A heartbeat could not be recorded: %s", error.message)


async def _finalize(
    resources: AttemptResources,
    in_flight: AttemptInFlight,
    status: AttemptStatus,
    error: RunError | None = None,
    *,
    outcome: AttemptOutcome | None = None,
    within: timedelta,
) -> None:
    """Store the Attempt's log, trace and screenshot, and finally its record.

    The record lists what is stored, and holds the outcome, so that it counts even if Temporal does not hear of it.
    """
    attempt = in_flight.input
    duration = in_flight.duration if in_flight.has_started else None
    metrics.current().attempt_ended(attempt.project, status=status, duration=duration)
    upload_within = min(within, ARTIFACTS_TIMEOUT)
    in_flight.stored_log, in_flight.artifacts = await asyncio.gather(
        in_flight.log.store(*last_line(status, error, in_flight.duration), within=upload_within),
        _upload_artifacts(resources, in_flight, status, within=upload_within),
    )
    await resources.records.write(attempt.project, in_flight.record(status, error), outcome, within=within)
    code = "" if error is None else f" ({error.code})"
    seconds = in_flight.duration.total_seconds()
    log.info("Attempt %d of Run %s: %s%s after %.1f s", attempt.number, attempt.run_id, status, code, seconds)


async def _upload_artifacts(
    resources: AttemptResources, in_flight: AttemptInFlight, status: AttemptStatus, *, within: timedelta
) -> UploadedArtifacts:
    if not in_flight.has_started:
        return UploadedArtifacts()
    return await upload_artifacts(
        resources.store,
        resources.redactor,
        in_flight.input,
        in_flight.evidence,
        status,
        in_flight.masker,
        within=within,
    )


def _lease_end(task: asyncio.Task[AttemptOutcome]) -> LeaseEndedError | None:
    """Return the error of an Attempt that was given up because the worker's lease is over; None for any other end."""
    error = None if task.cancelled() else task.exception()
    return error if isinstance(error, LeaseEndedError) else None
