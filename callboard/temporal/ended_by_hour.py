"""Count the Runs of projects that have ended in each of the last hours."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from callboard.schemas.workflow.run import RunType
from callboard.temporal.listing import RunFilter
from callboard.temporal.run_queries import RunQueries

_HOURS = 24
_SETTLED_AFTER = timedelta(minutes=1)
"""How long after an hour its count is final: visibility knows of the end of a Run some seconds later."""
_CONCURRENT_COUNTS = 4
"""Number of counts that are asked for concurrently. Temporal allows some ten a second, and lists need them, too."""


class EndedByHour:
    """How many Runs of each project have ended in each hour. What is counted of hours that are over is kept."""

    def __init__(self) -> None:
        self._counts: dict[str, dict[datetime, int]] = {}
        self._asking = asyncio.Semaphore(_CONCURRENT_COUNTS)

    async def read(self, queries: RunQueries, project: str, now: datetime) -> list[int]:
        """Return the counts of the last 24 hours, the one that has begun last. Raises Unavailable."""
        this_hour = now.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
        hours = [this_hour - timedelta(hours=back) for back in reversed(range(_HOURS))]
        known = self._counts.get(project, {})
        counts = await asyncio.gather(*(self._count(queries, project, hour, known) for hour in hours))
        settled = [hour for hour in hours if hour + timedelta(hours=1) + _SETTLED_AFTER <= now]
        self._counts[project] = {hour: count for hour, count in zip(hours, counts, strict=True) if hour in settled}
        return list(counts)

    async def _count(self, queries: RunQueries, project: str, hour: datetime, known: dict[datetime, int]) -> int:
        if (count := known.get(hour)) is not None:
            return count
        of_hour = RunFilter(types=frozenset({RunType.API}), ended_after=hour, ended_before=hour + timedelta(hours=1))
        async with self._asking:
            return await queries.count_runs(project, of_hour)
