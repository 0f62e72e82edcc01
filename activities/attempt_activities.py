"""The activities `attempt`, `check` and `create`: each is one Attempt of user code on a Machine."""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import timedelta

from temporalio import activity
from temporalio.client import Client
from temporalio.exceptions import ApplicationError, ApplicationErrorCategory

from activities.attempts.attempt_execution import execute_attempt
from activities.attempts.attempt_log import LogPolicy
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.attempt_steps import AttemptResources
from activities.attempts.logins import Logins
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.running_attempts import RunningAttempts
from activities.attempts.runtime_services import StoreQuota
from activities.workers.worker_dir import WorkerDir
from machines.pool import MachinePools
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.environments import Environments
from projects.versions import VersionFolders
from schemas.errors import StoreError
from schemas.workflow import names
from schemas.workflow.attempt import (
    ATTEMPT_FAILED,
    INTERRUPTED,
    AttemptInput,
    AttemptKind,
    AttemptOutcome,
    AttemptStatus,
    FailedAttemptDetails,
    InterruptedInput,
)
from schemas.workflow.run import ErrorCode
from security.keyring import KeyRing
from settings import Settings
from storage.store import Store
from telemetry import metrics

log = logging.getLogger(__name__)

_INTERRUPTED_RECORD_TIMEOUT = timedelta(seconds=5)
"""How long a try waits for the store to take the record of the lost try before it."""
_BUCKET_LOG_INTERVAL = timedelta(seconds=3)
"""Time between two pieces of a log that is being written to a bucket: each is a request that is paid for."""


class AttemptActivities:
    """The activities on the task queue of a project."""

    def __init__(self, resources: AttemptResources) -> None:
        self._resources = resources

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
                store_quota=StoreQuota(store, settings.store_limit),
                trace_limit=settings.trace_limit,
                log_policy=log_policy,
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
        outcome = await execute_attempt(self._resources, input)
        if input.raises_failure and outcome.status is AttemptStatus.FAILED and outcome.error is not None:
            raise ApplicationError(
                outcome.error.message,
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
        return await _execute_try(self._resources, input)

    @activity.defn(name=names.CREATE_LOGIN)
    async def create(self, input: AttemptInput) -> AttemptOutcome:
        """Execute one of the creates that Temporal's retry policy allows.

        Raises:
            ApplicationError: As `attempt`; and of type `AttemptFailed`, if the create failed.
        """
        return await _execute_try(self._resources, input)


async def _execute_try(resources: AttemptResources, attempt: AttemptInput) -> AttemptOutcome:
    """Execute the try of a check or create that this activity is: an Attempt with a number of its own.

    Its failure is an exception, so that Temporal tries again.

    Raises:
        ApplicationError: Of type `AttemptFailed`, with `FailedAttemptDetails`; or what `execute_attempt` raises.
    """
    number = await _next_number(resources, attempt)
    if number > attempt.number:
        stored = await _record_interrupted(resources, attempt, number - 1)
        # A try that has failed was heard of, or counts as a lost one. None comes after one that has not failed,
        # unless Temporal has not heard of it.
        if stored is not None and stored.status is AttemptStatus.COMPLETED:
            return stored.model_copy(update={"number": number - 1})
    attempt = attempt.model_copy(update={"number": number})
    outcome = await execute_attempt(resources, attempt)
    _count(attempt, outcome)
    if outcome.status is AttemptStatus.FAILED and outcome.error is not None:
        details = FailedAttemptDetails(
            number=number,
            error=outcome.error,
            login_version=outcome.login.login_version if outcome.login is not None else None,
            started_at=outcome.started_at,
        )
        raise ApplicationError(outcome.error.message, details, type=ATTEMPT_FAILED, non_retryable=outcome.final)
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
    execution_id = activity.info().workflow_run_id
    interrupted = InterruptedInput.of(attempt, number, cause=cause, execution_id=execution_id)
    try:
        return await resources.records.record_interrupted(interrupted, within=_INTERRUPTED_RECORD_TIMEOUT)
    except StoreError:
        log.exception("Run %s, Attempt %d: no record", attempt.run_id, number)
        return None


def _count(attempt: AttemptInput, outcome: AttemptOutcome) -> None:
    """Count what a check has found, or whether a create has made a login."""
    if attempt.kind is AttemptKind.CREATE:
        created = "created" if outcome.status is AttemptStatus.COMPLETED else outcome.status
        metrics.current().auth_session_created(attempt.project, created)
        return
    is_bad = outcome.error is not None and outcome.error.code is ErrorCode.AUTH_CHECK_FAILED
    found = "good" if outcome.status is AttemptStatus.COMPLETED else "bad" if is_bad else outcome.status
    metrics.current().auth_session_checked(attempt.project, found)
