"""What a sweep is given, and what it leaves: artifacts of Runs that ended long ago are removed."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.workflow.base import FlowModel


class SweepTotals(FlowModel):
    """What a sweep has done so far."""

    runs: int = 0
    """Runs of which nothing is left in the artifact store."""
    artifacts: int = 0
    """Artifacts that were removed."""
    failed: int = 0
    """Runs whose artifacts the store would not remove."""
    failure: str | None = None
    """What it said to the first of these."""

    def plus(self, other: SweepTotals) -> SweepTotals:
        """Both together."""
        return SweepTotals(
            runs=self.runs + other.runs,
            artifacts=self.artifacts + other.artifacts,
            failed=self.failed + other.failed,
            failure=self.failure or other.failure,
        )


class SweepInput(FlowModel):
    """The one argument of workflow `Sweep`. The Schedule gives it the age; the rest is of one that goes on."""

    older_than: timedelta
    """Age of artifacts that may go, from the end of their Run."""
    before: datetime | None = None
    """What that was when the sweep began."""
    after: str = ""
    """The key up to which it has come."""
    tally: SweepTotals = SweepTotals()


class SweepPart(FlowModel):
    """Argument of activity `sweep_artifacts`: a part of the artifacts, from the first key after `after` on."""

    before: datetime
    """Artifacts may go if they and the end of their Run are older."""
    after: str = ""


class SweepPartResult(FlowModel):
    """Result of activity `sweep_artifacts`."""

    after: str | None = None
    """The key up to which it has come; None: there is nothing behind."""
    tally: SweepTotals = SweepTotals()
