"""Execute one Attempt on this worker, so that it can be stopped, and store what it leaves, however it ends."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from temporalio import activity
from temporalio.exceptions import ApplicationError

from activities.attempts.artifact_uploader import ArtifactUploader, UploadedArtifacts
from activities.attempts.attempt_log import LogPolicy, last_line, open_log
from activities.attempts.attempt_progress import AttemptProgress
from activities.attempts.attempt_records import AttemptRecords, failure, interruption
from activities.attempts.machine_attempts import MachineAttempts
from activities.attempts.running_attempts import Cause, RunningAttempt, RunningAttempts
from activities.attempts.start_signals import StartSignals
from activities.background import forward_cancellation
from activities.heartbeat import heartbeats
from activities.workers.worker_dir import JournalEntry, WorkerDir
from machines.evidence import Evidence
from machines.lease import LeaseEndedError
from schemas.workflow.attempt import INTERRUPTED, AttemptInput, AttemptKind, AttemptOutcome, AttemptStatus
from schemas.workflow.run import RunError
from storage.store import Store
from telemetry import metrics

log = logging.getLogger(__name__)

RECORD_TIMEOUT = timedelta(seconds=30)
"""How long an outcome waits for its record to be written: a lost record fails nothing, and must not hold up a Run."""
STOPPED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the outcome of a stopped Attempt waits for its record: somebody waits for the Attempt's end."""
ARTIFACTS_TIMEOUT = timedelta(seconds=20)
"""How long an outcome waits for the Attempt's log, trace and screenshot to be stored."""


class AttemptExecutor:
    """Executes Attempts on this worker, each from its input to a durable outcome."""

    def __init__(
        self,
        *,
        worker: str,
        store: Store,
        records: AttemptRecords,
        machine_attempts: MachineAttempts,
        start_signals: StartSignals,
        uploader: ArtifactUploader,
        running_attempts: RunningAttempts,
        worker_dir: WorkerDir,
        trace_limit: int,
        log_policy: LogPolicy,
    ) -> None:
        """Set up without executing anything yet.

        Args:
            worker: Name of the worker process in Temporal.
            store: The artifact store, for logs.
            records: Writes the record of each Attempt.
            machine_attempts: Executes Attempts on the Machines of this worker.
            start_signals: Tell Runs that their Attempt has started.
            uploader: Stores traces and screenshots.
            running_attempts: The registry that stops Attempts.
            worker_dir: The worker's folder, with its journal and the folders of running Attempts.
            trace_limit: Largest size of a stored trace, in bytes.
            log_policy: How much is logged, and when that can be read.
        """
        self._worker = worker
        self._store = store
        self._records = records
        self._machine_attempts = machine_attempts
        self._start_signals = start_signals
        self._uploader = uploader
        self._running_attempts = running_attempts
        self._worker_dir = worker_dir
        self._trace_limit = trace_limit
        self._log_policy = log_policy

    async def execute(self, attempt: AttemptInput) -> AttemptOutcome:
        """Execute the Attempt; its result and record are stored when this returns or raises.

        Raises:
            ApplicationError: Of type `AttemptInterrupted`, `NoLogin` or `AuthSessionGone`: there is no outcome.
        """
        with self._worker_dir.evidence(attempt.run_id, attempt.number) as folder:
            async with open_log(self._store, attempt, folder, self._log_policy) as attempt_log:
                evidence = Evidence(folder, attempt.trace, self._trace_limit)
                progress = AttemptProgress(attempt, self._worker, evidence, attempt_log)
                task = asyncio.create_task(
                    self._machine_attempts.execute(attempt, progress),
                    name=f"attempt {attempt.run_id} {attempt.number}",
                )
                entry = JournalEntry(attempt.run_id, attempt.number, activity.info().task_token, attempt.kind)
                # The Attempt is in both or in neither at any moment: nothing is awaited between the two.
                with (
                    self._worker_dir.journal(entry),
                    self._running_attempts.register(attempt.run_id, attempt.number, task) as running_attempt,
                ):
                    finalizing = self._await_and_finalize(attempt, progress, running_attempt, task)
                    return await forward_cancellation(finalizing, running_attempt.on_cancellation)

    async def _await_and_finalize(
        self,
        attempt: AttemptInput,
        progress: AttemptProgress,
        running_attempt: RunningAttempt,
        task: asyncio.Task[AttemptOutcome],
    ) -> AttemptOutcome:
        """Await the Attempt's task with heartbeats, and store what it left before its end is returned or raised."""
        details = progress.heartbeat_details
        async with heartbeats(running_attempt.on_cancellation, details=details, on_silence=running_attempt.on_silence):
            # The record of the start is written with the start signals: it must not come after that of the end. It is
            # no part of the task, so that no stop reaches a task whose outcome exists.
            async with self._start_signals.sending(attempt, progress):
                await asyncio.wait({task})
            progress.mark_ended()
            lost = _lease_end(task)
            if lost is not None and running_attempt.cause is None:
                running_attempt.cause, running_attempt.message = Cause.INTERRUPTED, str(lost)
            if lost is None and not task.cancelled():
                # The task is done, so no stop can reach it any more: an outcome that exists stands.
                try:
                    outcome = task.result().model_copy(update={"started_at": progress.started_at})
                except Exception as error:
                    await self._finalize(attempt, progress, AttemptStatus.FAILED, failure(error), within=RECORD_TIMEOUT)
                    raise
                await self._finalize(
                    attempt, progress, outcome.status, outcome.error, outcome=outcome, within=RECORD_TIMEOUT
                )
                return outcome
            if running_attempt.cause is Cause.CANCELED:
                await self._finalize(attempt, progress, AttemptStatus.CANCELED, within=STOPPED_RECORD_TIMEOUT)
            else:
                error = interruption(running_attempt.message)
                await self._finalize(attempt, progress, AttemptStatus.INTERRUPTED, error, within=STOPPED_RECORD_TIMEOUT)
        if running_attempt.cause is Cause.CANCELED:
            return AttemptOutcome(status=AttemptStatus.CANCELED, started_at=progress.started_at)
        raise ApplicationError(
            running_attempt.message,
            attempt.run_id,
            attempt.number,
            type=INTERRUPTED,
            # An API's Attempt is tried again by its workflow, which counts; a check or create is retried by Temporal.
            non_retryable=attempt.kind is AttemptKind.API,
        )

    async def _finalize(
        self,
        attempt: AttemptInput,
        progress: AttemptProgress,
        status: AttemptStatus,
        error: RunError | None = None,
        *,
        outcome: AttemptOutcome | None = None,
        within: timedelta,
    ) -> None:
        """Store the Attempt's log, trace and screenshot, and finally its record.

        The record lists what is stored, and holds the outcome, so that it counts even if Temporal does not hear of it.
        """
        duration = progress.duration if progress.has_started else None
        metrics.current().attempt_ended(attempt.project, status=status, duration=duration)
        upload_within = min(within, ARTIFACTS_TIMEOUT)
        progress.stored_log, progress.artifacts = await asyncio.gather(
            progress.log.store(*last_line(status, error, progress.duration), within=upload_within),
            self._upload(attempt, progress, status, within=upload_within),
        )
        await self._records.write(attempt.project, progress.record(status, error), outcome, within=within)
        code = "" if error is None else f" ({error.code})"
        seconds = progress.duration.total_seconds()
        log.info("Attempt %d of Run %s: %s%s after %.1f s", attempt.number, attempt.run_id, status, code, seconds)

    async def _upload(
        self, attempt: AttemptInput, progress: AttemptProgress, status: AttemptStatus, *, within: timedelta
    ) -> UploadedArtifacts:
        if not progress.has_started:
            return UploadedArtifacts()
        return await self._uploader.upload(attempt, progress.evidence, status, progress.masker, within=within)


def _lease_end(task: asyncio.Task[AttemptOutcome]) -> LeaseEndedError | None:
    """Return the error of an Attempt that was given up because the worker's lease is over; None for any other end."""
    error = None if task.cancelled() else task.exception()
    return error if isinstance(error, LeaseEndedError) else None
