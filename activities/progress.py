"""What is known of an Attempt so far, for its record and for its Run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from temporalio import activity

from contract.flow.attempt import AttemptInput, AttemptRecord, AttemptStarted, AttemptStatus
from contract.flow.run import RunError
from machines.machine import Begun


class Progress:
    """Made as the activity begins."""

    def __init__(self, order: AttemptInput, worker: str) -> None:
        info = activity.info()
        self._order = order
        self._worker = worker
        # Of a further try of a check or create: since the one before it ended.
        self._queued_at = info.current_attempt_scheduled_time
        self._taken_at = info.started_time
        self._begun: Begun | None = None
        self.attributes: dict[str, Any] | None = None

    def begin(self, begun: Begun) -> None:
        """It is on a Machine, and user code is about to be called."""
        self._begun = begun

    def started(self) -> AttemptStarted:
        """Where it is."""
        machine = self._begun.machine if self._begun else "that is starting"
        return AttemptStarted(
            number=self._order.number, machine=machine, worker=self._worker, started_at=self.started_at
        )

    @property
    def started_at(self) -> datetime:
        """When it began on its Machine; if it never came to one, when the worker took it."""
        return self._begun.at if self._begun else self._taken_at

    def record(self, status: AttemptStatus, error: RunError | None = None) -> AttemptRecord:
        """Its record, as it is now."""
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
            ended_at=None if status is AttemptStatus.STARTED else datetime.now(UTC),
            machine=begun.machine if begun else None,
            worker=self._worker,
            browser_version=begun.browser_version if begun else None,
            error=error,
            attributes=self.attributes,
        )
