"""JobRuns: the calls (docs/contract.md, section 17), the results of one, and its page.

Results are artifacts with a line of JSON for each Run, which are called shards.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.jobs.definition import NDJSON, shown_definition
from api.jobs.rerun import count_wanted, new_job_run_id, resolve_job_run_id, start_rerun
from api.lookup import ProjectDep
from api.rows import ROWS_ANSWER, find_rows, rows_response
from api.runs.idempotency import IDEMPOTENCY_DOCS, read_idempotency_key
from api.runs.records import run_summary
from api.workspace_router import workspace_router
from callboard.projects.job_definition import read_definition
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, NotATable, NotFound, NothingFailed
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.job_runs import (
    JobRunBody,
    JobRunDetails,
    JobRunErrorBody,
    JobRunList,
    JobRunReasonBody,
    JobRunRerun,
    JobRunResults,
    JobRunsQuery,
    JobRunTerminated,
    JobSnapshot,
    parse_sort,
)
from callboard.schemas.rest.jobs import JobPaused, JobResumed
from callboard.schemas.rest.rows import RowsQuery
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job_run import JobRunReasonType
from callboard.schemas.workflow.run import RunStatus
from callboard.security.signed_links import ResultsRef, read_link, sign_link
from callboard.storage.job_results import find_shards, stream_shards
from callboard.storage.store import Store
from callboard.temporal.job_runs import JobRunState
from callboard.temporal.listing import RunFilter

_MEASURED = timedelta(minutes=5)
"""The last minutes of a JobRun. Its throughput is measured over them."""
_SHORTEST = timedelta(seconds=10)
"""A JobRun that is younger than this has no throughput yet."""
_RUNS_ON_PAGE = 20
_COUNTED = (RunStatus.PENDING, RunStatus.STARTED, RunStatus.FAILED, RunStatus.CANCELED)
"""Statuses whose Runs are counted. There may be very many that are completed, and counting these would take long."""

_LEADING_COLUMNS = ("_runId", "_api")
"""Columns that the rows of a JobRun have before their own."""

_LINK = "/job-run-results"
_REST = workspace_router("/{projectName}", tag="JobRuns")
_LINKED = APIRouter(tags=["JobRuns"])
_PAGE = page_router("/projects/{projectName}/jobs/{jobId}/runs/{jobRunId}")
routers = (_REST, _LINKED, _PAGE)

_READING = [requires(Scope.JOBS)]
_PAUSING = [requires(Scope.JOBS, "job-run.pause")]
_RESUMING = [requires(Scope.JOBS, "job-run.resume")]
_TERMINATING = [requires(Scope.JOBS, "job-run.terminate")]
_RERUNNING = [requires(Scope.JOBS, "job-run.rerun-failed")]


async def _find_job_run(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobRunState:
    return await services.job_runs.get(services.settings.workspace, manifest.project, jobId, jobRunId)


_JobRunDep = Annotated[JobRunState, Depends(_find_job_run)]


@_REST.get(
    "/jobs/{jobId}/runs",
    dependencies=_READING,
    operation_id="listJobRuns",
    summary="List a Job's JobRuns",
    responses=error_responses(BadRequest),
)
async def list_page(
    services: ServicesDep, manifest: ProjectDep, jobId: str, query: Annotated[JobRunsQuery, Query()]
) -> JobRunList:
    """List JobRuns, newest first unless `sortBy` says otherwise. One appears here within two seconds of its start."""
    workspace = services.settings.workspace
    found = await services.job_runs.list_page(
        workspace,
        manifest.project,
        jobId,
        sort=parse_sort(query.sort_by),
        first=query.page_number * query.page_size,
        count=query.page_size,
    )
    if not found.total:  # JobRuns are found also if their Job is deleted.
        await services.jobs.get(workspace, manifest.project, jobId)
    return JobRunList(job_runs=await _bodies(services, found.job_runs), total_count=found.total)


@_REST.get("/jobs/{jobId}/runs/{jobRunId}", dependencies=_READING, operation_id="getJobRun", summary="Get a JobRun")
async def get(request: Request, services: ServicesDep, job_run: _JobRunDep) -> JobRunDetails:
    """Get the JobRun and, once it has ended, a link to its results, which is valid for an hour."""
    (body,) = await _bodies(services, [job_run])
    return JobRunDetails(job_run=body, results=_results_link(request, services, job_run))


@_REST.get(
    "/jobs/{jobId}/runs/{jobRunId}/results",
    dependencies=_READING,
    operation_id="getJobRunResults",
    summary="Get a JobRun's results",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"}},
)
async def results(services: ServicesDep, job_run: _JobRunDep) -> Response:
    """Get the results of the Runs that have ended, one JSON object on each line; all once the JobRun has ended."""
    return await _results_response(services.store, job_run.project, job_run.id, job_run.progress.shards)


@_PAGE.get("/rows", dependencies=_READING)
@_REST.get(
    "/jobs/{jobId}/runs/{jobRunId}/rows",
    dependencies=_READING,
    operation_id="getJobRunRows",
    summary="Get a JobRun's results as one table",
    response_class=StreamingResponse,
    responses={**ROWS_ANSWER, **error_responses(BadRequest, NotATable)},
)
async def rows(services: ServicesDep, job_run: _JobRunDep, query: Annotated[RowsQuery, Query()]) -> Response:
    """Get the rows of all Runs that have completed so far and whose result is a table, each with its Run and API."""
    shards = await find_shards(services.store, job_run.project, job_run.id, job_run.progress.shards)

    async def tables() -> AsyncIterator[list[dict[str, Any]] | None]:
        async for shard in stream_shards(services.store, shards):
            for line in shard.splitlines():
                completed, found = await asyncio.to_thread(_rows_of_line, line)
                if completed:
                    yield found

    return await rows_response(query, tables, job_run.id, _LEADING_COLUMNS)


@_REST.post(
    "/jobs/{jobId}/runs/{jobRunId}/pause",
    dependencies=_PAUSING,
    operation_id="pauseJobRun",
    summary="Pause a JobRun",
    responses=error_responses(Conflict),
)
async def pause(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobPaused:
    """Start no further Runs of the JobRun. Those that it has started go on."""
    await services.job_runs.pause(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobPaused()


@_REST.post(
    "/jobs/{jobId}/runs/{jobRunId}/resume",
    dependencies=_RESUMING,
    operation_id="resumeJobRun",
    summary="Resume a JobRun",
    responses=error_responses(Conflict),
)
async def resume(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobResumed:
    """Start Runs of the JobRun again."""
    await services.job_runs.resume(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobResumed()


@_REST.post(
    "/jobs/{jobId}/runs/{jobRunId}/terminate",
    dependencies=_TERMINATING,
    operation_id="terminateJobRun",
    summary="Terminate a JobRun",
)
async def terminate(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobRunTerminated:
    """Cancel all Runs of the JobRun, and end it once no browser of it is left. One that has ended stays as it is."""
    await services.job_runs.terminate(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobRunTerminated()


@_REST.post(
    "/jobs/{jobId}/runs/{jobRunId}/rerun-failed",
    dependencies=_RERUNNING,
    status_code=201,
    operation_id="rerunFailedOfJobRun",
    summary="Run again what has not completed",
    openapi_extra=IDEMPOTENCY_DOCS,
    responses=error_responses(BadRequest, Conflict, NothingFailed),
)
async def rerun_failed(request: Request, services: ServicesDep, caller: CallerDep, job_run: _JobRunDep) -> JobRunRerun:
    """Start a JobRun of all items that failed, were canceled or never started, with the Job as this JobRun had it."""
    job_run_id = await resolve_job_run_id(services, job_run.project, read_idempotency_key(request))
    return await start_rerun(services, job_run, job_run_id, caller.actor)


@_REST.get("/job-runs/{jobRunId}", dependencies=_READING, operation_id="findJobRun", summary="Find a JobRun")
async def find(request: Request, services: ServicesDep, manifest: ProjectDep, jobRunId: str) -> JobRunDetails:
    """Get the JobRun, which names its Job, and a link to its results once it has ended."""
    job_run = await services.job_runs.get(services.settings.workspace, manifest.project, None, jobRunId)
    return await get(request, services, job_run)


@_LINKED.get(
    _LINK,
    operation_id="getLinkedJobRunResults",
    summary="Read the results that a link leads to",
    openapi_extra={"security": []},  # the link alone is enough
    response_class=StreamingResponse,
    responses={
        200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"},
        **error_responses(NotFound),
    },
)
async def linked_results(services: ServicesDep, link: Annotated[str, Query(max_length=4000)]) -> Response:
    """Get the results of a JobRun by the link that `results.signed_url` holds. No API key is needed."""
    linked = read_link(link, ResultsRef, services.ring)
    if linked is None or linked.workspace != services.settings.workspace:
        raise NotFound("This link has expired. Get the JobRun again for another one.")
    return await _results_response(services.store, linked.project, linked.job_run_id, linked.shards)


@_PAGE.get("", dependencies=_READING)
# The lower decorator is registered first, so that its path is matched first.
@_PAGE.get(".json", dependencies=_READING)
async def page(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: ProjectDep, state: _JobRunDep
) -> Response:
    """Show how far a JobRun has come, and its last Runs."""
    (job_run,) = await _bodies(services, [state])
    by_status, per_minute = await _count_runs(services, state)
    ended = state.progress.succeeded + state.progress.failed
    wanted = await count_wanted(services.store, state)
    has_ended = state.ended_at is not None
    data = {
        "jobRun": job_run.model_dump(mode="json", by_alias=True),
        "runsByStatus": {status.value: count for status, count in by_status.items()},
        "runsPerMinute": per_minute,
        "secondsLeft": None if has_ended or not per_minute else 60 * max(wanted - ended, 0) / per_minute,
        "runs": await _last_runs(services, state) if caller.has(Scope.RUNS_READ) else None,
    }
    return render_page(
        request,
        "job-run.html",
        data,
        manifest=manifest,
        max_runs=job_run.job_configuration_snapshot.configuration.get("maxRuns"),
        wanted_runs=wanted,
        ended_runs=ended,
        unstarted_runs=max(wanted - ended - job_run.running_runs, 0),
        has_ended=has_ended,
        new_job_run_id=new_job_run_id(),
        rerunnable_runs=wanted - state.progress.succeeded if has_ended else 0,
        terminating=not has_ended and state.reason is not None and state.reason.type is JobRunReasonType.TERMINATED,
        temporal_url=services.temporal_ui_url("workflows", job_run.id),
    )


@_PAGE.get("/results", dependencies=_READING)
async def results_file(services: ServicesDep, job_run: _JobRunDep) -> Response:
    """Serve the results of the Runs that have ended as a file, one JSON object on each line."""
    response = await results(services, job_run)
    response.headers["content-disposition"] = f'attachment; filename="results_{job_run.id}.jsonl"'
    return response


@_PAGE.post("/pause", dependencies=_PAUSING)
async def pause_by_form(services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> Response:
    """Pause the JobRun; its page then shows what comes of that."""
    await pause(services, manifest, jobId, jobRunId)
    return redirect(_address(manifest, jobId, jobRunId))


@_PAGE.post("/resume", dependencies=_RESUMING)
async def resume_by_form(
    services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str, jobRunId: str
) -> Response:
    """Resume the JobRun; its page then shows what comes of that."""
    await resume(services, manifest, jobId, jobRunId)
    return redirect(_address(manifest, jobId, jobRunId))


@_PAGE.post("/terminate", dependencies=_TERMINATING)
async def terminate_by_form(
    services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str, jobRunId: str
) -> Response:
    """Terminate the JobRun; its page then shows what comes of that."""
    await terminate(services, manifest, jobId, jobRunId)
    return redirect(_address(manifest, jobId, jobRunId))


@_PAGE.post("/rerun-failed", dependencies=_RERUNNING)
async def rerun_failed_by_form(
    services: ServicesDep, caller: CallerDep, form: FormDep, job_run: _JobRunDep
) -> Response:
    """Start a JobRun of what has not completed, once however often the form is sent, and redirect to its page."""
    job_run_id = form.get("newJobRunId", "")
    if not names.is_job_run_id(job_run_id):
        raise field_error("newJobRunId", "an id of a JobRun, as the page of this one gives it")
    started = await start_rerun(services, job_run, job_run_id, caller.actor)
    return redirect(f"/projects/{job_run.project}/jobs/{job_run.job_id}/runs/{started.job_run_id}")


def _address(manifest: Manifest, job_id: str, job_run_id: str) -> str:
    return f"/projects/{manifest.project}/jobs/{job_id}/runs/{job_run_id}"


async def _bodies(services: Services, states: Sequence[JobRunState]) -> list[JobRunBody]:
    """Return JobRuns with the Jobs that they execute; of many, few definitions differ. Raises StoreError."""
    snapshots: dict[str, JobSnapshot] = {}
    for state in states:
        if state.definition not in snapshots:
            definition = await read_definition(services.store, state.project, state.job_id, state.definition)
            snapshots[state.definition] = JobSnapshot(**shown_definition(definition))
    return [_body(state, snapshots[state.definition]) for state in states]


def _body(state: JobRunState, snapshot: JobSnapshot) -> JobRunBody:
    reason = state.reason
    progress = state.progress
    return JobRunBody(
        id=state.id,
        workspace_id=state.workspace,
        project_id=state.project,
        job_id=state.job_id,
        type=state.type,
        rerun_of=state.rerun_of,
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


def _results_link(request: Request, services: Services, state: JobRunState) -> JobRunResults | None:
    """Return the link to the results of a JobRun; None before its end, and without a key to seal a link with."""
    if state.ended_at is None or not services.settings.secret_key:
        return None
    linked = ResultsRef(state.workspace, state.project, state.id, state.progress.shards)
    link, expires = sign_link(linked, services.ring)
    # The link is in the query, which the log of requests does not show.
    url = f"{str(request.base_url).rstrip('/')}{_LINK}?link={quote(link, safe='')}"
    return JobRunResults(signed_url=url, signed_url_expiration=expires)


async def _results_response(store: Store, project: str, job_run_id: str, shards: int) -> Response:
    """Return the response that streams the results of a JobRun. Raises NotFound or StoreError."""
    found = await find_shards(store, project, job_run_id, shards)
    headers = {"cache-control": "no-store"}
    return StreamingResponse(stream_shards(store, found), media_type=NDJSON, headers=headers)


def _rows_of_line(line: bytes) -> tuple[bool, list[dict[str, Any]] | None]:
    """Return whether the Run of a line has completed, and its rows; None if its result is no table."""
    api_info = json.loads(line)["apiInfo"]
    if api_info["result"] is None:
        return False, None
    found = find_rows(api_info["result"]["output"])
    leading = dict(zip(_LEADING_COLUMNS, (api_info["runId"], api_info["name"]), strict=True))
    return True, None if found is None else [{**leading, **row, **leading} for row in found]


async def _last_runs(services: Services, job_run: JobRunState) -> list[dict[str, Any]]:
    """Return the first Runs of a JobRun as lists have them: those that have not ended, then the latest ends.

    Raises:
        Unavailable: Temporal does not answer.
    """
    page = await services.run_queries.list_runs(
        job_run.workspace, job_run.project, RunFilter(job_runs=frozenset({job_run.id})), limit=_RUNS_ON_PAGE
    )
    return [run_summary(item).model_dump(mode="json", by_alias=True) for item in page.runs]


async def _count_runs(services: Services, job_run: JobRunState) -> tuple[dict[RunStatus, int], float | None]:
    """Return how many Runs of a JobRun have each status, and how many end in a minute; None if nothing can be said yet.

    Raises:
        Unavailable: Temporal does not answer.
    """
    own, now = frozenset({job_run.id}), datetime.now(UTC)
    filters = [RunFilter(job_runs=own, statuses=frozenset({status})) for status in _COUNTED]
    if job_run.ended_at is None:
        filters.append(RunFilter(job_runs=own, ended_after=now - _MEASURED))
    numbers = await asyncio.gather(*(services.run_queries.count_runs(job_run.project, each) for each in filters))
    succeeded, failed = job_run.progress.succeeded, job_run.progress.failed
    counted = {RunStatus.COMPLETED: succeeded, **dict(zip(_COUNTED, numbers, strict=False))}
    elapsed = (job_run.ended_at or now) - job_run.started_at
    if elapsed <= timedelta() or (job_run.ended_at is None and elapsed < _SHORTEST):
        per_minute = None
    elif job_run.ended_at is not None or elapsed <= _MEASURED:
        per_minute = (succeeded + failed) / (elapsed / timedelta(minutes=1))
    else:
        per_minute = numbers[-1] / (_MEASURED / timedelta(minutes=1))
    return {status: counted[status] for status in RunStatus}, per_minute
