"""The data of the pages of Jobs and JobRuns, beyond what the API answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from api.dashboard.jobs.schedule_text import describe_schedule
from api.dependencies import Services
from api.jobs.bodies import definition_of
from schemas.rest.job_runs import JobRunBody
from schemas.workflow.run import RunStatus
from temporal.job_run_listing import JobRunState
from temporal.jobs import JobState
from temporal.listing import RunFilter

_LATEST_JOB_RUNS = 100
"""Number of a project's latest JobRuns among which the last one of each Job is looked for."""
_READ_AT_ONCE = 4
"""How many definitions of Jobs are read from the artifact store at once."""
_MEASURED = timedelta(minutes=5)
"""The last minutes of a JobRun. Its throughput is measured over them."""
_SHORTEST = timedelta(seconds=10)
"""A JobRun that is younger than this has no throughput yet."""
_COUNTED: tuple[RunStatus, ...] = (RunStatus.PENDING, RunStatus.STARTED, RunStatus.FAILED, RunStatus.CANCELED)


async def jobs_data(services: Services, project: str) -> list[dict[str, Any]]:
    """Return the Jobs of a project, each with its last JobRun, if that is among the latest hundred.

    Raises StoreError or Unavailable.
    """
    workspace = services.settings.workspace
    states = await services.jobs.list_all(workspace, project)
    if not states:
        return []
    latest: dict[str, JobRunState] = {}
    for job_run in await services.job_runs.list_latest(workspace, project, _LATEST_JOB_RUNS):
        known = latest.get(job_run.job_id)
        if known is None or known.started_at < job_run.started_at:
            latest[job_run.job_id] = job_run
    places = asyncio.Semaphore(_READ_AT_ONCE)

    async def read(state: JobState) -> dict[str, Any]:
        async with places:
            definition = await definition_of(services, state)
        last = latest.get(state.ref.job_id)
        next_run_time = state.next_run_times[0] if state.next_run_times else None
        return {
            "id": state.ref.job_id,
            "state": "PAUSED" if state.paused else "ACTIVE",
            "source": state.ref.source.value,
            "schedule": definition.schedule,
            "scheduleInWords": describe_schedule(definition.schedule).short,
            "payloadCount": definition.payload_count,
            "nextRunTime": next_run_time and next_run_time.isoformat(),
            "lastJobRun": last
            and {
                "id": last.id,
                "status": last.status.value,
                "failedRuns": last.progress.failed,
                "startTime": last.started_at.isoformat(),
            },
        }

    return list(await asyncio.gather(*(read(state) for state in states)))


@dataclass(frozen=True)
class JobRunFigures:
    """How far a JobRun has come."""

    items: int
    """Number of items, those that Runs have added included."""
    succeeded: int
    failed: int
    """Number of Runs that failed or were canceled."""
    in_flight: int
    max_runs: int | None
    """How many Runs are started at most; None for any number."""
    by_status: dict[RunStatus, int]
    """Number of its Runs with each status."""
    per_minute: float | None
    """Number of Runs that end in a minute; None if nothing can be said yet."""

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

    @property
    def seconds_left(self) -> float | None:
        """About how long it will take to the end at this rate; None if nothing can be said."""
        return 60 * max(self.wanted - self.ended, 0) / self.per_minute if self.per_minute else None


async def job_run_figures(services: Services, job_run: JobRunBody, now: datetime) -> JobRunFigures:
    """Return the figures of a JobRun. Raises Unavailable."""
    has_ended = job_run.end_time is not None
    own = frozenset({job_run.id})
    filters = [RunFilter(job_runs=own, statuses=frozenset({status})) for status in _COUNTED]
    if not has_ended:
        filters.append(RunFilter(job_runs=own, ended_after=now - _MEASURED))
    numbers = await asyncio.gather(*(services.run_queries.count_runs(job_run.project_id, each) for each in filters))
    by_status: dict[RunStatus, int] = dict(zip(_COUNTED, numbers, strict=False))
    succeeded, failed = job_run.successful_runs or 0, job_run.failed_runs or 0
    by_status[RunStatus.COMPLETED] = succeeded  # There may be very many, and counting them would take long.
    elapsed = (job_run.end_time or now) - job_run.start_time
    if elapsed <= timedelta() or (not has_ended and elapsed < _SHORTEST):
        per_minute = None
    elif has_ended or elapsed <= _MEASURED:
        per_minute = (succeeded + failed) / (elapsed / timedelta(minutes=1))
    else:
        per_minute = numbers[-1] / (_MEASURED / timedelta(minutes=1))
    return JobRunFigures(
        items=job_run.payloads or 0,
        succeeded=succeeded,
        failed=failed,
        in_flight=job_run.running_runs,
        max_runs=job_run.job_configuration_snapshot.configuration.get("maxRuns"),
        by_status={status: by_status[status] for status in RunStatus},
        per_minute=per_minute,
    )
