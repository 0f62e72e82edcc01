"""The calls about JobRuns: those of the contract, `pause`, `resume`, and `results` (docs/contract.md, section 17)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Services, ServicesDep
from api.http.access import requires
from api.http.errors import error_responses
from api.http.workspace_router import workspace_router
from api.jobs.changes import get_job
from api.jobs.lines import NDJSON
from api.jobs.results import results_link, results_response
from api.jobs.run_bodies import job_run_bodies, job_run_list
from api.projects.lookup import ProjectDep
from schemas.errors import BadRequest, Conflict
from schemas.rest.access import Scope
from schemas.rest.job_runs import JobRunDetails, JobRunList, JobRunsQuery, JobRunTerminated
from schemas.rest.jobs import JobPaused, JobResumed
from temporal.job_run_listing import JobRunState

router = workspace_router("/{projectName}", tag="JobRuns")


async def _find_job_run(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobRunState:
    return await services.job_runs.get(services.settings.workspace, manifest.project, jobId, jobRunId)


JobRunDep = Annotated[JobRunState, Depends(_find_job_run)]


@router.get(
    "/jobs/{jobId}/runs",
    dependencies=[requires(Scope.JOBS)],
    operation_id="listJobRuns",
    summary="List a Job's JobRuns",
    responses=error_responses(BadRequest),
)
async def list_page(
    services: ServicesDep, manifest: ProjectDep, jobId: str, query: Annotated[JobRunsQuery, Query()]
) -> JobRunList:
    """List JobRuns, newest first unless `sortBy` says otherwise. One appears here within two seconds of its start."""
    page = await job_run_list(services, manifest.project, jobId, query)
    if not page.total_count:  # JobRuns are found also if their Job is deleted.
        await get_job(services, manifest.project, jobId)
    return page


@router.get(
    "/jobs/{jobId}/runs/{jobRunId}",
    dependencies=[requires(Scope.JOBS)],
    operation_id="getJobRun",
    summary="Get a JobRun",
)
async def get(request: Request, services: ServicesDep, job_run: JobRunDep) -> JobRunDetails:
    """Get the JobRun and, once it has ended, a link to its results, which is valid for an hour."""
    return await _details(request, services, job_run)


@router.get(
    "/jobs/{jobId}/runs/{jobRunId}/results",
    dependencies=[requires(Scope.JOBS)],
    operation_id="getJobRunResults",
    summary="Get a JobRun's results",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"}},
)
async def results(services: ServicesDep, job_run: JobRunDep) -> Response:
    """Get the results of the Runs that have ended, one JSON object on each line; all once the JobRun has ended."""
    return await results_response(services.store, job_run.project, job_run.id, job_run.progress.shards)


@router.post(
    "/jobs/{jobId}/runs/{jobRunId}/pause",
    dependencies=[requires(Scope.JOBS, "job-run.pause")],
    operation_id="pauseJobRun",
    summary="Pause a JobRun",
    responses=error_responses(Conflict),
)
async def pause(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobPaused:
    """Start no further Runs of the JobRun. Those that it has started go on."""
    await services.job_runs.pause(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobPaused()


@router.post(
    "/jobs/{jobId}/runs/{jobRunId}/resume",
    dependencies=[requires(Scope.JOBS, "job-run.resume")],
    operation_id="resumeJobRun",
    summary="Resume a JobRun",
    responses=error_responses(Conflict),
)
async def resume(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobResumed:
    """Start Runs of the JobRun again."""
    await services.job_runs.resume(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobResumed()


@router.post(
    "/jobs/{jobId}/runs/{jobRunId}/terminate",
    dependencies=[requires(Scope.JOBS, "job-run.terminate")],
    operation_id="terminateJobRun",
    summary="Terminate a JobRun",
)
async def terminate(services: ServicesDep, manifest: ProjectDep, jobId: str, jobRunId: str) -> JobRunTerminated:
    """Cancel all Runs of the JobRun, and end it once no browser of it is left. One that has ended stays as it is."""
    await services.job_runs.terminate(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobRunTerminated()


@router.get(
    "/job-runs/{jobRunId}", dependencies=[requires(Scope.JOBS)], operation_id="findJobRun", summary="Find a JobRun"
)
async def find(request: Request, services: ServicesDep, manifest: ProjectDep, jobRunId: str) -> JobRunDetails:
    """Get the JobRun, which names its Job, and a link to its results once it has ended."""
    state = await services.job_runs.get(services.settings.workspace, manifest.project, None, jobRunId)
    return await _details(request, services, state)


async def _details(request: Request, services: Services, job_run: JobRunState) -> JobRunDetails:
    (body,) = await job_run_bodies(services, [job_run])
    return JobRunDetails(job_run=body, results=results_link(request, services, job_run))
