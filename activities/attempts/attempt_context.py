"""What the steps of an Attempt work with: what this worker has for all Attempts, and what is known of the one.

Attempts that run on this worker are registered, so that they can be stopped: on a cancel, or because it gives them up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Any

from temporalio import activity
from temporalio.activity import ActivityCancellationDetails
from temporalio.client import Client

from activities.attempts.attempt_artifacts import UploadedArtifacts
from activities.attempts.attempt_log import AttemptLog, LogPolicy, StoredLog
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.logins import Logins
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.runtime_services import StoreQuota
from activities.heartbeat import SILENCE_LIMIT
from activities.workers.worker_dir import WorkerDir
from machines.attempt_spec import AttemptEvidence
from machines.capacity import RoomWait
from machines.machine import AttemptStart
from machines.pool import MachinePools
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.versions import VersionFolders
from schemas.workflow import names
from schemas.workflow.attempt import (
    WAITS_FOR_ROOM,
    AttemptInput,
    AttemptRecord,
    AttemptStarted,
    AttemptStatus,
    AttemptUsage,
    StopInput,
)
from schemas.workflow.run import RunError
from schemas.workflow.variables import RecordedVariable
from security.keyring import KeyRing
from security.masking import Masker
from storage.store import Store
from telemetry.tracing import current_trace_id

_GIVEN_UP_BY_TEMPORAL = (
    "Temporal has given the Attempt up: its worker was not heard of in time, it was reset there, or its Run was ended."
)


class Cause(Enum):
    """Why an Attempt is stopped."""

    CANCELED = auto()
    """The Run of the Attempt was canceled."""
    INTERRUPTED = auto()
    """This worker cannot go on with the Attempt, which does not count then."""


@dataclass
class RunningAttempt:
    """One running Attempt, and why it is to stop, if it is."""

    task: asyncio.Task[Any]
    cause: Cause | None = None
    message: str = ""

    def stop(self, cause: Cause, message: str = "") -> None:
        """Stop the Attempt. The first cause stays; the teardown of the Machine bounds the time."""
        if self.cause is None and not self.task.done():
            self.cause, self.message = cause, message
            self.task.cancel()

    def on_cancellation(self, details: ActivityCancellationDetails | None) -> None:
        """Stop the Attempt for the reason that Temporal gives.

        A pause stops nothing: it only keeps further tries from being made.
        """
        if details is not None and details.cancel_requested:
            self.stop(Cause.CANCELED)
        elif details is not None and details.reset:
            self.stop(Cause.INTERRUPTED, "The Attempt was reset in Temporal before it ended.")
        elif details is not None and (details.not_found or details.timed_out):
            self.stop(Cause.INTERRUPTED, _GIVEN_UP_BY_TEMPORAL)
        elif details is None or not details.paused:
            self.stop(Cause.INTERRUPTED, "The worker was stopped before the Attempt ended.")

    def on_silence(self, reason: str) -> None:
        """Stop the Attempt before Temporal gives it to another worker, which it does when it records no heartbeats."""
        self.stop(
            Cause.INTERRUPTED,
            f"Temporal has recorded no sign of life of the Attempt for {SILENCE_LIMIT:g} seconds: {reason}",
        )


class RunningAttempts:
    """All running Attempts of a worker, by Run and number."""

    def __init__(self) -> None:
        self._running: dict[tuple[str, int], RunningAttempt] = {}

    def __iter__(self) -> Iterator[tuple[str, int]]:
        return iter(list(self._running))

    @contextmanager
    def register(self, run_id: str, number: int, task: asyncio.Task[Any]) -> Generator[RunningAttempt]:
        """Register the Attempt as running for as long as the block lasts."""
        running_attempt = self._running[run_id, number] = RunningAttempt(task)
        try:
            yield running_attempt
        finally:
            del self._running[run_id, number]

    @activity.defn(name=names.STOP_ATTEMPT)
    async def stop_attempt(self, input: StopInput) -> bool:
        """Stop an Attempt, without waiting for its end; return False if it is not here (any more).

        This is the activity with which a workflow reaches one worker process.
        """
        return self.stop(input.run_id, input.number)

    def stop(self, run_id: str, number: int) -> bool:
        """Cancel the Attempt, or another one of its Run that is here by now; return False if there is none."""
        others = (other for (other_run_id, _), other in self._running.items() if other_run_id == run_id)
        running_attempt = self._running.get((run_id, number)) or next(others, None)
        if running_attempt is None:
            return False
        running_attempt.stop(Cause.CANCELED)
        return True

    def interrupt_all(self, message: str) -> None:
        """Interrupt every Attempt."""
        for running_attempt in list(self._running.values()):
            running_attempt.stop(Cause.INTERRUPTED, message)


@dataclass(frozen=True, kw_only=True)
class AttemptResources:
    """What this worker has for all its Attempts."""

    worker: str
    """Name of the worker process in Temporal."""
    client: Client
    store: Store
    """The artifact store."""
    records: AttemptRecords
    logins: Logins
    catalog: Catalog
    versions: VersionFolders
    environments: ProjectEnvironments
    pools: MachinePools
    keyring: KeyRing
    redactor: TraceRedactor
    running_attempts: RunningAttempts
    """The registry that stops Attempts."""
    worker_dir: WorkerDir
    """The worker's folder, with its journal and the folders of running Attempts."""
    store_quota: StoreQuota
    """How much each project may keep in its `persistent_store`."""
    trace_limit: int
    """Largest size of a stored trace, in bytes."""
    log_policy: LogPolicy


class AttemptInFlight:
    """What is known of an Attempt so far, for its record and for its Run; created when its activity begins."""

    def __init__(self, attempt: AttemptInput, worker: str, evidence: AttemptEvidence, log: AttemptLog) -> None:
        info = activity.info()
        self.input = attempt
        self._worker = worker
        self.evidence = evidence
        """What the Attempt leaves; empty if it never came to a Machine."""
        self.masker = Masker(())
        """Masks the secrets that the Attempt was given."""
        self.artifacts = UploadedArtifacts()
        """The trace, screenshot and page URL that were stored at the end."""
        self.log = log
        self.stored_log = StoredLog()
        """What was stored of the log."""
        self._ended_at: datetime | None = None
        # For a further try of a check or create, this is when the try before it ended.
        self._queued_at = info.current_attempt_scheduled_time
        self._accepted_at = info.started_time
        self._clock_error = datetime.now(UTC) - info.started_time
        """How far this host's clock is ahead of Temporal's. All times of the Attempt are given by Temporal's clock, so
        that they fit those of its Run."""
        timeout = attempt.queue_timeout
        self.room_wait = RoomWait(None if timeout is None else self._queued_at + timeout + self._clock_error)
        """Says while the Attempt waits until this worker has room for it."""
        self._start: AttemptStart | None = None
        self._trace_id = current_trace_id()
        self._execution_id = info.workflow_run_id
        self.attributes: dict[str, Any] | None = None
        self.variables: tuple[RecordedVariable, ...] | None = None
        """The environment variables of its project that the Attempt was given."""

    def mask_with(self, masker: Masker) -> None:
        """Mask with this from here on, in the log as well."""
        self.masker = self.log.file.masker = masker

    def mark_started(self, start: AttemptStart) -> None:
        """Note that the Attempt is on a Machine, and that user code is about to be called."""
        self._start = start

    def mark_ended(self) -> None:
        """Note that the Attempt is over; only storing what it leaves is still to be done."""
        self._ended_at = self._now()

    @property
    def duration(self) -> timedelta:
        """Time from the Attempt's start to its end, or until now."""
        return (self._ended_at or self._now()) - self.started_at

    @property
    def has_started(self) -> bool:
        """Whether the Attempt ever was on a Machine."""
        return self._start is not None

    def heartbeat_details(self) -> tuple[str, ...]:
        """Return what a heartbeat says of the Attempt."""
        return (WAITS_FOR_ROOM,) if self.room_wait.waits else ()

    def start_signal(self) -> AttemptStarted:
        """Return the payload of the start signal: where the Attempt runs or waits, and since when."""
        machine = self._start.machine if self._start else "that is starting"
        return AttemptStarted(
            number=self.input.number,
            machine=machine,
            worker=self._worker,
            started_at=self.started_at,
            waits=self.room_wait.waits,
        )

    @property
    def started_at(self) -> datetime:
        """When the Attempt began on its Machine; if it never came to one, when the worker took it."""
        return self._start.at - self._clock_error if self._start else self._accepted_at

    def record(self, status: AttemptStatus, error: RunError | None = None) -> AttemptRecord:
        """Return the record of the Attempt as it is now."""
        start, preparing_since = self._start, self.room_wait.preparing_since
        return AttemptRecord(
            run_id=self.input.run_id,
            number=self.input.number,
            kind=self.input.kind,
            status=status,
            api=self.input.api,
            version=self.input.version,
            queued_at=self._queued_at,
            preparing_at=preparing_since and preparing_since - self._clock_error,
            started_at=self.started_at,
            ended_at=self._ended_at,
            machine=start.machine if start else None,
            worker=self._worker,
            browser_version=start.browser_version if start else None,
            error=error,
            page_url=self.artifacts.page_url,
            attributes=self.attributes,
            usage=None if status is AttemptStatus.STARTED else self._usage(),
            log=self.stored_log.size is not None,
            trace=self.artifacts.trace_size is not None,
            screenshot=self.artifacts.screenshot,
            trace_id=self._trace_id,
            variables=self.variables,
            execution_id=self._execution_id,
            missing={**self.artifacts.missing, **({"log": missing} if (missing := self.stored_log.missing) else {})},
        )

    def _now(self) -> datetime:
        return datetime.now(UTC) - self._clock_error

    def _usage(self) -> AttemptUsage:
        usage = self.stored_log.usage or AttemptUsage()
        return usage.model_copy(update={"log_size": self.stored_log.size, "trace_size": self.artifacts.trace_size})
