"""Answers that show JobRuns."""

from __future__ import annotations

from collections.abc import Sequence

from api.dependencies import Services
from api.jobs.bodies import configured
from projects.job_definition import read_definition
from schemas.rest.job_runs import (
    JobRunBody,
    JobRunErrorBody,
    JobRunList,
    JobRunReasonBody,
    JobRunsQuery,
    JobSnapshot,
    parse_sort,
)
from temporal.job_run_listing import JobRunState


async def job_run_list(services: Services, project: str, job_id: str, query: JobRunsQuery) -> JobRunList:
    """Return a page of a Job's JobRuns. Raises StoreError or Unavailable."""
    page = await services.job_runs.list_page(
        services.settings.workspace,
        project,
        job_id,
        sort=parse_sort(query.sort_by),
        first=query.page_number * query.page_size,
        count=query.page_size,
    )
    return JobRunList(job_runs=await job_run_bodies(services, page.job_runs), total_count=page.total)


async def job_run_bodies(services: Services, states: Sequence[JobRunState]) -> list[JobRunBody]:
    """Return JobRuns with the Jobs that they execute; of many, few definitions differ. Raises StoreError."""
    snapshots: dict[str, JobSnapshot] = {}
    bodies: list[JobRunBody] = []
    for state in states:
        if state.definition not in snapshots:
            snapshots[state.definition] = await _snapshot(services, state)
        bodies.append(_body(state, snapshots[state.definition]))
    return bodies


async def _snapshot(services: Services, state: JobRunState) -> JobSnapshot:
    definition = await read_definition(services.store, state.project, state.job_id, state.definition)
    return JobSnapshot(**configured(definition))


def _body(state: JobRunState, snapshot: JobSnapshot) -> JobRunBody:
    reason = state.reason
    progress = state.progress
    return JobRunBody(
        id=state.id,
        workspace_id=state.workspace,
        project_id=state.project,
        job_id=state.job_id,
        type=state.type,
        status=state.status,
        start_time=state.started_at,
        end_time=state.ended_at,
        created_at=state.started_at,
        updated_at=state.ended_at or state.updated_at,
        payloads=progress.total,
        successful_runs=progress.succeeded,
        failed_runs=progress.failed,
        running_runs=0 if state.ended_at is not None else len(progress.in_flight),
        version=state.version,
        job_configuration_snapshot=snapshot,
        error=None if state.error is None else JobRunErrorBody(message=state.error),
        reason=reason and JobRunReasonBody(type=reason.type, message=reason.message, details=reason.details),
    )
