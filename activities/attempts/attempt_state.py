"""Hold what is known of an Attempt so far, for its record and for its Run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio import activity

from activities.attempts.artifact_uploader import UploadedArtifacts
from activities.attempts.attempt_log import AttemptLog, StoredLog
from machines.evidence import Evidence
from machines.machine import AttemptStart
from schemas.workflow.attempt import AttemptInput, AttemptRecord, AttemptStarted, AttemptStatus, AttemptUsage
from schemas.workflow.run import RunError
from security.masking import Masker


class AttemptState:
    """What is known of an Attempt so far; created when its activity begins."""

    def __init__(self, order: AttemptInput, worker: str, evidence: Evidence, log: AttemptLog) -> None:
        info = activity.info()
        self._order = order
        self._worker = worker
        self.evidence = evidence
        """What the Attempt leaves; empty if it never came to a Machine."""
        self.masker = Masker(())
        """Masks the secrets that the Attempt was given."""
        self.kept = UploadedArtifacts()
        """What has been stored of the evidence."""
        self.log = log
        self.stored_log = StoredLog()
        """What was stored of the log."""
        self._ended_at: datetime | None = None
        # For a further try of a check or create, this is when the try before it ended.
        self._queued_at = info.current_attempt_scheduled_time
        self._taken_at = info.started_time
        self._begun: AttemptStart | None = None
        self.attributes: dict[str, Any] | None = None

    def begin(self, begun: AttemptStart) -> None:
        """Note that the Attempt is on a Machine, and that user code is about to be called."""
        self._begun = begun

    def end(self) -> None:
        """Note that the Attempt is over; only storing what it leaves is still to be done."""
        self._ended_at = datetime.now(UTC)

    @property
    def lasted(self) -> timedelta:
        """Time from the Attempt's beginning to its end, or until now."""
        return (self._ended_at or datetime.now(UTC)) - self.started_at

    @property
    def begun(self) -> bool:
        """Whether the Attempt ever was on a Machine."""
        return self._begun is not None

    def started(self) -> AttemptStarted:
        """Return the payload of the start signal: where the Attempt runs, and since when."""
        machine = self._begun.machine if self._begun else "that is starting"
        return AttemptStarted(
            number=self._order.number, machine=machine, worker=self._worker, started_at=self.started_at
        )

    @property
    def started_at(self) -> datetime:
        """When the Attempt began on its Machine; if it never came to one, when the worker took it."""
        return self._begun.at if self._begun else self._taken_at

    def record(self, status: AttemptStatus, error: RunError | None = None) -> AttemptRecord:
        """Return the record of the Attempt as it is now."""
        begun = self._begun
        return AttemptRecord(
            run_id=self._order.run_id,
            number=self._order.number,
            kind=self._order.kind.value,
            status=status,
            api=self._order.api,
            version=self._order.version,
            queued_at=self._queued_at,
            started_at=self.started_at,
            ended_at=self._ended_at,
            machine=begun.machine if begun else None,
            worker=self._worker,
            browser_version=begun.browser_version if begun else None,
            error=error,
            page_url=self.kept.page_url,
            attributes=self.attributes,
            usage=None if status is AttemptStatus.STARTED else self._usage(),
            log=self.stored_log.size is not None,
            trace=self.kept.trace_size is not None,
            screenshot=self.kept.screenshot,
            missing={**self.kept.missing, **({"log": missing} if (missing := self.stored_log.missing) else {})},
        )

    def _usage(self) -> AttemptUsage:
        taken = self.stored_log.usage or AttemptUsage()
        return taken.model_copy(update={"log_size": self.stored_log.size, "trace_size": self.kept.trace_size})
