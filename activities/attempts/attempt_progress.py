"""Hold what is known of an Attempt so far, for its record and for its Run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity

from activities.attempts.artifact_uploader import UploadedArtifacts
from activities.attempts.attempt_log import AttemptLog, StoredLog
from machines.evidence import Evidence
from machines.machine import AttemptStart
from machines.room_wait import RoomWait
from schemas.workflow.attempt import (
    WAITS_FOR_ROOM,
    AttemptInput,
    AttemptRecord,
    AttemptStarted,
    AttemptStatus,
    AttemptUsage,
)
from schemas.workflow.run import RunError
from security.masking import Masker
from telemetry.tracing import current_trace_id


class AttemptProgress:
    """What is known of an Attempt so far; created when its activity begins."""

    def __init__(self, attempt: AttemptInput, worker: str, evidence: Evidence, log: AttemptLog) -> None:
        info = activity.info()
        self._attempt = attempt
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
        """How far this host's clock is ahead of Temporal's. What is told of the Attempt are times of Temporal, so that
        they fit to those of its Run."""
        timeout = attempt.queue_timeout
        self.room_wait = RoomWait(None if timeout is None else self._queued_at + timeout + self._clock_error)
        """Says while the Attempt waits until this worker has room for it."""
        self._start: AttemptStart | None = None
        self._trace_id = current_trace_id()
        self._execution_id = info.workflow_run_id
        self.attributes: dict[str, Any] | None = None

    def mark_started(self, start: AttemptStart) -> None:
        """Note that the Attempt is on a Machine, and that user code is about to be called."""
        self._start = start

    def mark_ended(self) -> None:
        """Note that the Attempt is over; only storing what it leaves is still to be done."""
        self._ended_at = self._now()

    def set_masker(self, masker: Masker) -> None:
        """Mask the log, and what is stored of the Attempt at its end, with `masker` from here on."""
        self.masker = masker
        self.log.file.masker = masker

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
            number=self._attempt.number,
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
        start = self._start
        return AttemptRecord(
            run_id=self._attempt.run_id,
            number=self._attempt.number,
            kind=self._attempt.kind,
            status=status,
            api=self._attempt.api,
            version=self._attempt.version,
            queued_at=self._queued_at,
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
