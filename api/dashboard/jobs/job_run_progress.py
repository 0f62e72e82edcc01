"""How far a JobRun has come: a bar to scale, how quickly its Runs end, and how long the others will take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

BAR_WIDTH = 1000
"""Width of the whole bar, in units of the drawing."""
MEASURED = timedelta(minutes=5)
"""The last minutes of a JobRun, by which its throughput is measured."""
_SHORTEST = timedelta(seconds=10)
"""A JobRun that is younger than this has no throughput yet."""


@dataclass(frozen=True)
class JobRunCounts:
    """The Runs of a JobRun, counted."""

    items: int
    """Number of items, those that Runs have added included."""
    succeeded: int
    failed: int
    """Number of Runs that failed or were canceled."""
    in_flight: int
    max_runs: int | None = None
    """How many Runs are started at most; None for any number."""

    @property
    def ended(self) -> int:
        """Number of Runs that have ended."""
        return self.succeeded + self.failed

    @property
    def wanted(self) -> int:
        """Number of Runs that there will be, as far as that is known: a Run may add more."""
        return self.items if self.max_runs is None else min(self.items, self.max_runs)

    @property
    def left(self) -> int:
        """Number of Runs that have not been started."""
        return max(self.wanted - self.ended - self.in_flight, 0)


@dataclass(frozen=True)
class Segment:
    """A part of the bar."""

    kind: str
    x: float
    width: float


def bar_segments(counts: JobRunCounts) -> list[Segment]:
    """Return the parts of the bar that show Runs which were started; what they leave uncovered is left."""
    whole = max(counts.wanted, counts.ended + counts.in_flight, 1)
    segments: list[Segment] = []
    before = 0
    for kind, count in (("completed", counts.succeeded), ("failed", counts.failed), ("started", counts.in_flight)):
        if count:
            segments.append(Segment(kind, round(before / whole * BAR_WIDTH, 1), round(count / whole * BAR_WIDTH, 1)))
        before += count
    return segments


def runs_per_minute(counts: JobRunCounts, recently_ended: int, elapsed: timedelta, *, has_ended: bool) -> float | None:
    """Return how many Runs end in a minute; None if nothing can be said yet.

    Args:
        counts: The Runs of the JobRun.
        recently_ended: How many of them have ended within the last `MEASURED`.
        elapsed: Time from the start of the JobRun to its end, or until now.
        has_ended: Whether the JobRun has ended; all of its time is looked at then.
    """
    if elapsed <= timedelta() or (not has_ended and elapsed < _SHORTEST):
        return None
    if has_ended or elapsed <= MEASURED:
        return counts.ended / (elapsed / timedelta(minutes=1))
    return recently_ended / (MEASURED / timedelta(minutes=1))


def time_left(counts: JobRunCounts, per_minute: float | None) -> timedelta | None:
    """Return about how long the JobRun will take to its end at this rate; None if nothing can be said."""
    if not per_minute:
        return None
    return timedelta(minutes=max(counts.wanted - counts.ended, 0) / per_minute)


def format_time_left(value: timedelta) -> str:
    """Return a time left in words, as precisely as an estimate deserves."""
    minutes = value / timedelta(minutes=1)
    if minutes < 1:
        return "less than a minute"
    if minutes < 90:
        return f"about {round(minutes)} minute{'' if round(minutes) == 1 else 's'}"
    hours = minutes / 60
    return f"about {round(hours)} hours" if hours < 36 else f"about {round(hours / 24)} days"


def elapsed_time(started_at: datetime, ended_at: datetime | None, now: datetime) -> timedelta:
    """Return for how long a JobRun has lasted."""
    return max((ended_at or now) - started_at, timedelta())
