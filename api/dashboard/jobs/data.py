"""The data of the pages of Jobs and JobRuns, beyond what the API answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from urllib.parse import quote

from api.dashboard.jobs.job_run_progress import (
    MEASURED,
    JobRunCounts,
    elapsed_time,
    runs_per_minute,
    time_left,
)
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
            and {"id": last.id, "status": last.status.value, "startTime": last.started_at.isoformat()},
        }

    return list(await asyncio.gather(*(read(state) for state in states)))


@dataclass(frozen=True)
class JobRunFigures:
    """How far a JobRun has come."""

    counts: JobRunCounts
    by_status: dict[RunStatus, int]
    """Number of its Runs with each status."""
    per_minute: float | None
    """Number of Runs that end in a minute."""
    time_left: timedelta | None
    """Estimated time until its end."""


async def job_run_figures(services: Services, job_run: JobRunBody, now: datetime) -> JobRunFigures:
    """Return the figures of a JobRun. Raises Unavailable."""
    has_ended = job_run.end_time is not None
    counts = JobRunCounts(
        items=job_run.payloads or 0,
        succeeded=job_run.successful_runs or 0,
        failed=job_run.failed_runs or 0,
        in_flight=job_run.running_runs,
        max_runs=job_run.job_configuration_snapshot.configuration.get("maxRuns"),
    )
    elapsed = elapsed_time(job_run.start_time, job_run.end_time, now)
    own = frozenset({job_run.id})
    filters = [RunFilter(job_runs=own, statuses=frozenset({status})) for status in _COUNTED]
    if not has_ended:
        filters.append(RunFilter(job_runs=own, ended_after=now - MEASURED))
    numbers = await asyncio.gather(*(services.run_queries.count_runs(job_run.project_id, each) for each in filters))
    by_status: dict[RunStatus, int] = dict(zip(_COUNTED, numbers, strict=False))
    by_status[RunStatus.COMPLETED] = counts.succeeded  # There may be very many, and counting them would take long.
    per_minute = runs_per_minute(counts, 0 if has_ended else numbers[-1], elapsed, has_ended=has_ended)
    left = None if has_ended else time_left(counts, per_minute)
    return JobRunFigures(
        counts=counts,
        by_status={status: by_status[status] for status in RunStatus},
        per_minute=per_minute,
        time_left=left,
    )


def temporal_url(services: Services, kind: str, entity_id: str) -> str | None:
    """Return the address of a Schedule or a workflow in Temporal's Web UI, if the address of the Web UI is known.

    Args:
        services: The services, for the settings.
        kind: `schedules` or `workflows`.
        entity_id: The id of the Schedule or the workflow.
    """
    settings = services.settings
    if settings.temporal_ui_url is None:
        return None
    namespace = quote(services.temporal_namespace, safe="")
    return f"{settings.temporal_ui_url.rstrip('/')}/namespaces/{namespace}/{kind}/{quote(entity_id, safe='')}"
