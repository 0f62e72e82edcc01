"""What the steps of an Attempt work with: what this worker has for all Attempts, and what is known of the one."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity
from temporalio.client import Client

from activities.attempts.attempt_artifacts import UploadedArtifacts
from activities.attempts.attempt_log import AttemptLog, LogPolicy, StoredLog
from activities.attempts.attempt_records import AttemptRecords
from activities.attempts.logins import Logins
from activities.attempts.project_environments import ProjectEnvironments
from activities.attempts.running_attempts import RunningAttempts
from activities.attempts.runtime_services import StoreQuota
from activities.workers.worker_dir import WorkerDir
from machines.attempt_spec import AttemptEvidence
from machines.capacity import RoomWait
from machines.machine import AttemptStart
from machines.pool import MachinePools
from machines.trace_redactor import TraceRedactor
from projects.catalog import Catalog
from projects.dotenv import DevFolders
from projects.versions import VersionFolders
from schemas.workflow.attempt import (
    WAITS_FOR_ROOM,
    AttemptInput,
    AttemptRecord,
    AttemptStarted,
    AttemptStatus,
    AttemptUsage,
)
from schemas.workflow.run import RunError
from security.keyring import KeyRing
from security.masking import Masker
from storage.store import Store
from telemetry.tracing import current_trace_id


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
    dev: DevFolders | None = None
    """The project folders, in `callboard dev` only."""
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
            execution_id=self._execution_id,
            missing={**self.artifacts.missing, **({"log": missing} if (missing := self.stored_log.missing) else {})},
        )

    def _now(self) -> datetime:
        return datetime.now(UTC) - self._clock_error

    def _usage(self) -> AttemptUsage:
        usage = self.stored_log.usage or AttemptUsage()
        return usage.model_copy(update={"log_size": self.stored_log.size, "trace_size": self.artifacts.trace_size})
