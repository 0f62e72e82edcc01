"""The activities `attempt`, `check`, `create` and `record`: each is one Attempt on a Machine.

Each can be stopped, and stores what it leaves, however it ends.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client, WorkflowHandle
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory
from temporalio.service import RPCError, RPCStatusCode

from activities.attempts.attempt_artifacts import AttemptRecords, failure, interruption, upload_artifacts
from activities.attempts.attempt_files import store_files
from activities.attempts.attempt_log import LogPolicy, last_line, open_log
from activities.attempts.attempt_steps import AttemptResources, run_on_machine
from activities.attempts.handoffs import OpenQuestions
from activities.attempts.logins import Logins
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.running_attempts import Cause, RunningAttempt, RunningAttempts
from activities.attempts.runtime_services import StoreQuota
from activities.heartbeat import background_task, forward_cancellation, heartbeats, record_heartbeat
from activities.workers.worker_dir import JournalEntry, WorkerDir
from callboard.machines.lease import LeaseEndedError
from callboard.machines.left_files import FileLimits
from callboard.machines.pool import MachinePools
from callboard.machines.trace_redactor import TraceRedactor
from callboard.projects.catalog import Catalog
from callboard.projects.environments import Environments
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import StoreError
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStarted,
    AttemptStatus,
    FailedAttemptDetails,
    InterruptedInput,
)
from callboard.schemas.workflow.base import HEADLINE_LIMIT, clip
from callboard.schemas.workflow.run import ErrorCode, RunError
from callboard.security.keyring import KeyRing
from callboard.settings import Settings
from callboard.storage.store import Store
from callboard.telemetry import metrics

log = logging.getLogger(__name__)

RECORD_TIMEOUT = timedelta(seconds=30)
"""How long an outcome waits for its record to be written: a lost record fails nothing, and must not hold up a Run."""
STOPPED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the outcome of a stopped Attempt waits for its record: somebody waits for the Attempt's end."""
ARTIFACTS_TIMEOUT = timedelta(seconds=20)
"""How long an outcome waits for the Attempt's log, trace and screenshot to be stored."""
FILES_TIMEOUT = timedelta(minutes=2)
"""How long an outcome waits for the files that the Attempt has left to be stored."""
CANCELED_FILES_TIMEOUT = timedelta(seconds=20)
"""How long the end of a canceled Attempt waits for them."""
SIGNAL_AFTER = 1.0
"""Seconds before the start is signaled. A shorter Attempt sends no start signal: that would cost its Run a workflow
task. A cancel that comes sooner stops the Attempt by its first heartbeat, which is sent at the same time."""
_START_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long the store is retried for the record of the start."""
_INTERRUPTED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long a try waits for the store to take the record of the lost try before it."""
_BUCKET_LOG_INTERVAL = timedelta(seconds=3)
"""Time between two pieces of a log that is being written to a bucket: each is a request that is paid for."""


class AttemptActivities:
    """The activities on the task queue of a project."""

    def __init__(self, resources: AttemptResources) -> None:
        self.resources = resources

    @classmethod
    def of(
        cls,
        settings: Settings,
        client: Client,
        store: Store,
        catalog: Catalog,
        *,
        worker: str,
        worker_dir: WorkerDir,
        versions: VersionFolders,
        environments: Environments,
        pools: MachinePools,
        redactor: TraceRedactor,
        running_attempts: RunningAttempts,
    ) -> AttemptActivities:
        """Return the activities of a worker with these settings. `AttemptResources` says what each of the others is.

        Raises:
            ConfigurationError: A key is too short.
        """
        keyring, log_policy = KeyRing.of(settings), LogPolicy(settings.log_limit)
        if settings.keeps_artifacts_in_bucket:
            log_policy = replace(log_policy, first_piece=_BUCKET_LOG_INTERVAL, piece_interval=_BUCKET_LOG_INTERVAL)
        return cls(
            AttemptResources(
                worker=worker,
                client=client,
                store=store,
                records=AttemptRecords(store, client.data_converter),
                logins=Logins(client, store, keyring),
                catalog=catalog,
                versions=versions,
                environments=ProjectEnvironments(store, environments),
                pools=pools,
                keyring=keyring,
                redactor=redactor,
                running_attempts=running_attempts,
                worker_dir=worker_dir,
                questions=OpenQuestions(),
                delivery_timeout=settings.delivery_timeout,
                store_quota=StoreQuota(store, settings.store_limit),
                trace_limit=settings.trace_limit,
                log_policy=log_policy,
                file_limits=FileLimits(settings.files_count, settings.files_limit),
            )
        )

    @activity.defn(name=names.ATTEMPT)
    async def attempt(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one Attempt of an API.

        Raises:
            ApplicationError: Of type `AttemptFailed`, with the outcome as its detail: the Attempt failed. Of type
                `AttemptInterrupted`: this worker could not finish the Attempt, and it does not count. Of type `NoLogin`
                or `AuthSessionGone`: the Attempt has no login to begin with.
        """
        if activity.info().attempt > 1:
            # The Run counts Attempts, and asks Temporal for one try of each. But an activity that fails or is lost
            # while it is paused is tried again when it is unpaused: the server does not look at the limit then.
            message = "The Attempt ended without an outcome while it was paused in Temporal."
            raise ApplicationError(message, input.run_id, input.number, type=INTERRUPTED, non_retryable=True)
        outcome = await _execute_attempt(self.resources, input)
        if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
            raise ApplicationError(
                clip(outcome.error.message, HEADLINE_LIMIT),
                outcome,
                type=ATTEMPT_FAILED,
                non_retryable=True,  # the Run counts Attempts
                category=ApplicationErrorCategory.BENIGN,  # an error of user code is told in the Attempt's own log
            )
        return outcome

    @activity.defn(name=names.CHECK)
    async def check(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one of the checks that Temporal's retry policy allows.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if the login is not good or the check failed.
        """
        return await _execute_try(self.resources, input)

    @activity.defn(name=names.CREATE_LOGIN)
    async def create(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one of the creates that Temporal's retry policy allows.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if the create failed.
        """
        return await _execute_try(self.resources, input)

    @activity.defn(name=names.RECORD_LOGIN)
    async def record(self, input: AttemptInput) -> AttemptOutcome:
        """Have a person log in. Only a record that was lost is tried again.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if there is no login.
        """
        return await _execute_try(self.resources, input)


async def _execute_try(resources: AttemptResources, attempt: AttemptInput) -> AttemptOutcome:
    """Execute the try of a check, create or record that this activity is: an Attempt with a number of its own.

    Its failure is an exception, so that Temporal tries again.

    Raises:
        ApplicationError: Of type `AttemptFailed`, with `FailedAttemptDetails`; or what `_execute_attempt` raises.
    """
    number = await _next_number(resources, attempt)
    if number > attempt.number:
        stored = await _record_interrupted(resources, attempt, number - 1)
        # A try that has failed was heard of, or counts as a lost one. None comes after one that has not failed,
        # unless Temporal has not heard of it.
        if stored is not None and stored.status is AttemptStatus.COMPLETED:
            return stored.model_copy(update={"number": number - 1})
    attempt = attempt.model_copy(update={"number": number})
    outcome = await _execute_attempt(resources, attempt)
    _count(attempt, outcome)
    if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
        details = FailedAttemptDetails(
            number=number,
            error=outcome.error,
            login_version=outcome.login.login_version if outcome.login is not None else None,
            started_at=outcome.started_at,
        )
        message = clip(outcome.error.message, HEADLINE_LIMIT)
        raise ApplicationError(message, details, type=ATTEMPT_FAILED, non_retryable=outcome.final)
    return outcome.model_copy(update={"number": number})


async def _next_number(resources: AttemptResources, attempt: AttemptInput) -> int:
    """Return the number of this try.

    Temporal counts tries from 1 again after a reset, but no number is used twice.
    """
    info = activity.info()
    number = attempt.number + info.attempt - 1
    if info.current_attempt_scheduled_time != info.scheduled_time:  # so this is not the first try
        while await resources.records.exists(attempt.project, attempt.run_id, number):
            number += 1
    return number


async def _record_interrupted(resources: AttemptResources, attempt: AttemptInput, number: int) -> AttemptOutcome | None:
    """Return the outcome that the try before this one has stored.

    Without one, record its end: if its worker was lost, nobody else writes it.
    """
    cause = "The worker that ran the Attempt was lost."
    execution_id = activity.info().workflow_run_id or ""
    interrupted = InterruptedInput.of(attempt, number, cause=cause, execution_id=execution_id)
    try:
        return await resources.records.record_interrupted(interrupted, within=_INTERRUPTED_RECORD_TIMEOUT)
    except StoreError:
        log.exception("Run %s, Attempt %d: no record", attempt.run_id, number)
        return None


def _count(attempt: AttemptInput, outcome: AttemptOutcome) -> None:
    """Count what a check has found, or whether a login was made."""
    if attempt.kind.makes_login:
        created = "created" if outcome.status is AttemptStatus.COMPLETED else outcome.status
        metrics.current().auth_session_created(attempt.project, created)
        return
    is_bad = outcome.error is not None and outcome.error.code is ErrorCode.AUTH_CHECK_FAILED
    found = "good" if outcome.status is AttemptStatus.COMPLETED else "bad" if is_bad else outcome.status
    metrics.current().auth_session_checked(attempt.project, found)


async def _execute_attempt(resources: AttemptResources, attempt: AttemptInput) -> AttemptOutcome:
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
                try:
                    return await forward_cancellation(finalizing, running.on_cancellation)
                finally:
                    await running.live.close()


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
                await _store_files(resources, running, within=FILES_TIMEOUT)
                await _finalize(resources, running, AttemptStatus.FAILED, failure(error), within=RECORD_TIMEOUT)
                raise
            files = await _store_files(resources, running, within=FILES_TIMEOUT)
            outcome = outcome.model_copy(update={"files": files})
            await _finalize(resources, running, outcome.status, outcome.error, outcome=outcome, within=RECORD_TIMEOUT)
            return outcome
        if running.cause is Cause.CANCELED:
            files = await _store_files(resources, running, within=CANCELED_FILES_TIMEOUT)
            await _finalize(resources, running, AttemptStatus.CANCELED, within=STOPPED_RECORD_TIMEOUT)
            return AttemptOutcome(status=AttemptStatus.CANCELED, started_at=running.started_at, files=files)
        error = interruption(running.message)
        await _store_files(resources, running, within=STOPPED_RECORD_TIMEOUT)
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
    if running.waits:
        await _signal(run, names.ATTEMPT_STARTED, running.start_signal())
        await _record_waiting(running)
        await running.room()
    await _signal(run, names.ATTEMPT_STARTED, running.start_signal())
    if attempt.kind is AttemptKind.CHECK and attempt.parent_run_id is not None:
        waiting = resources.client.get_workflow_handle(attempt.parent_run_id)
        await _signal(waiting, names.VALIDATE_STARTED, attempt.number)
    is_ready = running.has_started
    await _record_start(resources, running)
    if not is_ready:  # Its Machine is being started: what that is, and its browser, is known only then.
        await running.on_browser()
        await _record_start(resources, running)


async def _record_start(resources: AttemptResources, running: RunningAttempt) -> None:
    record = running.record(AttemptStatus.STARTED)
    await resources.records.write_start(running.input.project, record, within=_START_RECORD_TIMEOUT)
    running.start_recorded.set()


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


async def _store_files(resources: AttemptResources, running: RunningAttempt, *, within: timedelta) -> int:
    """Store the files that the Attempt has left, and return how many; its log names what is lost of them."""
    limits, masker = resources.file_limits, running.masker
    running.files = await store_files(resources.store, running.input, running.folder, masker, limits, within=within)
    if running.files.missing is not None:
        running.log.file.write_line(f"Files are not kept: {running.files.missing}", "warning")
    return len(running.files.files)


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
            withheld=running.withheld,
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
