"""Alerts: the rules of a project's settings, the Runs that are counted for them, and which rules were broken.

See docs/contract.md, section 24. What is kept of Runs is bounded, however many there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from callboard.schemas.workflow.base import FlowModel
from callboard.schemas.workflow.sink import SealedSink

MOST_COUNTED = 100
"""How many failures, and how many Runs, a rule can name at most; so many of the last ones are kept."""
MOST_SHOWN = 20
"""How many alerts that are closed are listed: the last ones."""


class EndedRun(FlowModel):
    """A Run that has ended, and was not canceled."""

    id: str
    at: datetime
    """When it has ended."""
    failed: bool


class AlertRule(FlowModel):
    """What has to hold of the Runs of a project: fewer failures than so many within a time, or a rate of success."""

    failures: int | None = None
    within: timedelta | None = None
    """Set with `failures`, and `of` with `success_rate`."""
    success_rate: float | None = None
    of: int | None = None

    def broken_by(self, last: Sequence[EndedRun], failed: Sequence[EndedRun], now: datetime) -> tuple[str, ...]:
        """Return the ids of the Runs that have failed against the rule, the oldest first; none if it holds.

        Args:
            last: The last Runs, the oldest first.
            failed: The last Runs that have failed, the oldest first.
            now: The present time.
        """
        if self.failures is not None and self.within is not None:
            counted = [run.id for run in failed if now < run.at + self.within]
            return tuple(counted) if len(counted) >= self.failures else ()
        if self.success_rate is None or self.of is None or len(last) < self.of:
            return ()
        counted = [run.id for run in last[-self.of :] if run.failed]
        return tuple(counted) if (self.of - len(counted)) / self.of < self.success_rate else ()

    def holds_again_at(self, failed: Sequence[EndedRun]) -> datetime | None:
        """Return when a rule that is broken holds again without a further Run; None if it never does by itself."""
        if self.failures is None or self.within is None:
            return None
        return failed[-self.failures].at + self.within


class Alert(FlowModel):
    """A rule was broken; it is open until the rule holds again."""

    id: str
    rule: AlertRule
    runs: tuple[str, ...]
    """Ids of the Runs that have failed as it was opened, the oldest first."""
    opened_at: datetime
    closed_at: datetime | None = None

    @property
    def is_open(self) -> bool:
        """Whether the rule is broken still."""
        return self.closed_at is None

    @property
    def message_id(self) -> str:
        """What receivers recognize a message by that comes twice: one tells of its beginning, and one of its end."""
        return f"{self.id}-{'opened' if self.is_open else 'closed'}"


class ToldRule(FlowModel):
    """A rule, and who is told of it."""

    rule: AlertRule
    sinks: tuple[SealedSink, ...]


class CountRunInput(FlowModel):
    """The input of the activity `count_run`."""

    workspace: str
    project: str
    run: EndedRun


class CountedRun(FlowModel):
    """What the signal `count` brings: a Run that has ended, and the rules of the project at that time."""

    run: EndedRun
    rules: tuple[ToldRule, ...]


class AlertsInput(FlowModel):
    """The input of the workflow `Alerts`. It begins with nothing, and goes on with what it had."""

    workspace: str
    project: str
    rules: tuple[ToldRule, ...] = ()
    last: tuple[EndedRun, ...] = ()
    failed: tuple[EndedRun, ...] = ()
    alerts: tuple[Alert, ...] = ()
