"""Input and result of a sweep, which removes artifacts of Runs that ended long ago, and versions nobody needs."""

from __future__ import annotations

from datetime import datetime, timedelta

from callboard.schemas.workflow.base import FlowModel


class SweepTotals(FlowModel):
    """What a sweep has done so far."""

    runs: int = 0
    """How many Runs have nothing left in the artifact store."""
    artifacts: int = 0
    """How many artifacts were removed."""
    versions: int = 0
    """How many versions of projects were removed."""
    failed: int = 0
    """How many Runs and projects have something that the store would not remove."""
    failure: str | None = None
    """Error of the store for the first of these."""

    def plus(self, other: SweepTotals) -> SweepTotals:
        """Return the sums of both."""
        return SweepTotals(
            runs=self.runs + other.runs,
            artifacts=self.artifacts + other.artifacts,
            versions=self.versions + other.versions,
            failed=self.failed + other.failed,
            failure=self.failure or other.failure,
        )


class SweepInput(FlowModel):
    """The input of the workflow `Sweep`.

    The Schedule sets the age; the other fields are set when a sweep continues as new.
    """

    older_than: timedelta
    """Age, counted from the end of their Run, at which artifacts may be removed."""
    before: datetime | None = None
    """Point in time for that age, as of the beginning of the sweep."""
    after: str = ""
    """The key up to which the sweep has come."""
    totals: SweepTotals = SweepTotals()


class SweepPart(FlowModel):
    """Input of the activity `sweep_artifacts`: a part of the artifacts, from the first key after `after` on."""

    before: datetime
    """Artifacts may be removed if they and the end of their Run are older than this."""
    after: str = ""


class SweepPartResult(FlowModel):
    """Result of the activity `sweep_artifacts`."""

    after: str | None = None
    """The key up to which the part has come; None if nothing comes after it."""
    totals: SweepTotals = SweepTotals()
