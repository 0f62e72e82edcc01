"""Input and result of a sweep, which removes artifacts of Runs that ended long ago, and versions nobody needs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from enum import StrEnum

from pydantic import Field

from callboard.schemas.workflow.base import FlowModel


class StoredKind(StrEnum):
    """What the artifact store holds of a project, by kind."""

    TRACES = "traces"
    LOGS = "logs"
    SCREENSHOTS = "screenshots"
    FILES = "files"
    """What Attempts have left in their `output/`, and downloads."""
    RUNS = "runs"
    """All else of Runs: parameters, results, records, what is delivered."""
    JOBS = "jobs"
    """Definitions of Jobs, and plans and results of JobRuns."""
    LOGINS = "logins"
    VALUES = "values"
    """What user code keeps in `persistent_store`."""
    VERSIONS = "versions"
    UPLOADS = "uploads"


Stored = Mapping[str, Mapping[str, tuple[int, int]]]
"""What the store holds by project and `StoredKind`: how many objects, and how many bytes they have."""


class StoredCount:
    """Counts what the store holds."""

    def __init__(self, begin: Stored | None = None) -> None:
        self._projects: defaultdict[str, dict[str, tuple[int, int]]] = defaultdict(dict)
        for project, kinds in (begin or {}).items():
            self.add(project, kinds)

    def add(self, project: str, kinds: Mapping[str, tuple[int, int]]) -> None:
        """Add objects of a project."""
        known = self._projects[project]
        for kind, (objects, size) in kinds.items():
            before = known.get(kind, (0, 0))
            known[kind] = (before[0] + objects, before[1] + size)

    @property
    def stored(self) -> Stored:
        """What was counted so far."""
        return {project: dict(kinds) for project, kinds in self._projects.items()}


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
    stored: Stored = Field(default_factory=dict[str, dict[str, tuple[int, int]]])
    """What is left in the store of all that the sweep has come by; environment variables are not counted."""

    def plus(self, other: SweepTotals) -> SweepTotals:
        """Return the sums of both."""
        count = StoredCount(self.stored)
        for project, kinds in other.stored.items():
            count.add(project, kinds)
        return SweepTotals(
            runs=self.runs + other.runs,
            artifacts=self.artifacts + other.artifacts,
            versions=self.versions + other.versions,
            failed=self.failed + other.failed,
            failure=self.failure or other.failure,
            stored=count.stored,
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
