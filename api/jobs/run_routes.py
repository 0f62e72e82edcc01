"""The calls about JobRuns: those of the contract, `pause`, `resume`, and `results` (docs/contract.md, section 17)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query, Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import Services, ServicesDep
from api.http.errors import error_responses
from api.http.workspace_router import workspace_router
from api.jobs.changes import get_job
from api.jobs.lines import NDJSON
from api.jobs.results import results_link, results_response
from api.jobs.run_bodies import job_run_bodies, job_run_list
from api.projects.lookup import require_project
from schemas.errors import BadRequest, Conflict
from schemas.rest.job_runs import JobRunDetails, JobRunList, JobRunsQuery, JobRunTerminated
from schemas.rest.jobs import JobPaused, JobResumed
from temporal.job_run_listing import JobRunState

_JOB = workspace_router("/{projectName}/jobs/{jobId}/runs", tag="JobRuns")
"""Router of the JobRuns of one Job."""
_ANY_JOB = workspace_router("/{projectName}/job-runs", tag="JobRuns")
"""Router that finds a JobRun by its id alone (docs/contract.md, section 17.1)."""


@_JOB.get("", summary="List a Job's JobRuns", responses=error_responses(BadRequest))
async def list_page(
    services: ServicesDep,
    projectName: str,  # noqa: N803 - the contract's names
    jobId: str,  # noqa: N803
    query: Annotated[JobRunsQuery, Query()],
) -> JobRunList:
    """List JobRuns, newest first unless `sortBy` says otherwise. One appears here within two seconds of its start."""
    manifest = await require_project(services, projectName)
    page = await job_run_list(services, manifest.project, jobId, query)
    if not page.total_count:  # JobRuns are found also if their Job is deleted.
        await get_job(services, manifest.project, jobId)
    return page


@_JOB.get("/{jobRunId}", summary="Get a JobRun")
async def get(
    request: Request,
    services: ServicesDep,
    projectName: str,  # noqa: N803
    jobId: str,  # noqa: N803
    jobRunId: str,  # noqa: N803
) -> JobRunDetails:
    """Get the JobRun and, once it has ended, a link to its results, which is valid for an hour."""
    state = await _job_run(services, projectName, jobId, jobRunId)
    (body,) = await job_run_bodies(services, [state])
    return JobRunDetails(job_run=body, results=results_link(request, services, state))


@_JOB.get(
    "/{jobRunId}/results",
    summary="Get a JobRun's results",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}, "description": "The results, a line for each Run"}},
)
async def results(
    services: ServicesDep,
    projectName: str,  # noqa: N803
    jobId: str,  # noqa: N803
    jobRunId: str,  # noqa: N803
) -> Response:
    """Get the results of the Runs that have ended, one JSON object on each line; all once the JobRun has ended."""
    state = await _job_run(services, projectName, jobId, jobRunId)
    return await results_response(services.store, state.project, state.id, state.progress.shards)


@_JOB.post("/{jobRunId}/pause", summary="Pause a JobRun", responses=error_responses(Conflict))
async def pause(services: ServicesDep, projectName: str, jobId: str, jobRunId: str) -> JobPaused:  # noqa: N803
    """Start no further Runs of the JobRun. Those that it has started go on."""
    manifest = await require_project(services, projectName)
    await services.job_runs.pause(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobPaused()


@_JOB.post("/{jobRunId}/resume", summary="Resume a JobRun", responses=error_responses(Conflict))
async def resume(services: ServicesDep, projectName: str, jobId: str, jobRunId: str) -> JobResumed:  # noqa: N803
    """Start Runs of the JobRun again."""
    manifest = await require_project(services, projectName)
    await services.job_runs.resume(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobResumed()


@_JOB.post("/{jobRunId}/terminate", summary="Terminate a JobRun")
async def terminate(
    services: ServicesDep,
    projectName: str,  # noqa: N803
    jobId: str,  # noqa: N803
    jobRunId: str,  # noqa: N803
) -> JobRunTerminated:
    """Cancel all Runs of the JobRun, and end it once no browser of it is left. One that has ended stays as it is."""
    manifest = await require_project(services, projectName)
    await services.job_runs.terminate(services.settings.workspace, manifest.project, jobId, jobRunId)
    return JobRunTerminated()


async def _job_run(services: Services, project: str, job_id: str, job_run_id: str) -> JobRunState:
    manifest = await require_project(services, project)
    return await services.job_runs.get(services.settings.workspace, manifest.project, job_id, job_run_id)


@_ANY_JOB.get("/{jobRunId}", summary="Find a JobRun")
async def find(
    request: Request,
    services: ServicesDep,
    projectName: str,  # noqa: N803 - the contract's names
    jobRunId: str,  # noqa: N803
) -> JobRunDetails:
    """Get the JobRun, which names its Job, and a link to its results once it has ended."""
    manifest = await require_project(services, projectName)
    state = await services.job_runs.get(services.settings.workspace, manifest.project, None, jobRunId)
    (body,) = await job_run_bodies(services, [state])
    return JobRunDetails(job_run=body, results=results_link(request, services, state))


routers = (_JOB, _ANY_JOB)
