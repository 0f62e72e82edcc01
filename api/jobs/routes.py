"""The calls about Jobs: those of the contract, and the payload of one (docs/contract.md, section 17)."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response, StreamingResponse

from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.openapi import request_body
from api.http.workspace_router import workspace_router
from api.jobs import bodies
from api.jobs.changes import create_job, get_job, update_job
from api.jobs.lines import NDJSON
from api.projects.lookup import ProjectDep
from api.runs.idempotency import new_run_id
from schemas.errors import BadRequest, Conflict, PayloadTooLarge
from schemas.rest.access import Scope
from schemas.rest.jobs import (
    CreateJob,
    JobBody,
    JobCreated,
    JobListItem,
    JobPaused,
    JobResumed,
    JobTriggered,
    JobUpdated,
    UpdateJob,
)
from schemas.workflow import names
from schemas.workflow.job_run import JobRunInput, JobRunType
from storage.job_payloads import stream_payload
from telemetry.log_context import add_log_fields

_PAUSED = "The Job was paused by a request."
_RESUMED = "The Job was resumed by a request."

_LINES = {"type": "string", "description": "The Job without its payload, and an item on each line."}

router = workspace_router("/{projectName}/jobs", tag="Jobs")


@router.get("", dependencies=[requires(Scope.JOBS)], operation_id="listJobs", summary="List a project's Jobs")
async def list_all(services: ServicesDep, manifest: ProjectDep) -> list[JobListItem]:
    """List all Jobs, sorted by id, each with the first 100 items of its payload at most."""
    states = await services.jobs.list_all(services.settings.workspace, manifest.project)
    return await bodies.job_list(services, states)


@router.post(
    "",
    dependencies=[requires(Scope.JOBS, "job.create")],
    status_code=201,
    operation_id="createJob",
    summary="Create a Job",
    openapi_extra=request_body(CreateJob, also={NDJSON: _LINES}),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def create(request: Request, services: ServicesDep, manifest: ProjectDep) -> JobCreated:
    """Create a Job. It is sent as JSON, or as lines: all but its payload, and then an item of it on each line."""
    return await create_job(services, manifest, request)


@router.get("/{jobId}", dependencies=[requires(Scope.JOBS)], operation_id="getJob", summary="Get a Job")
async def get(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobBody:
    """Get all of the Job; its payload only if it has 1,000 items or fewer."""
    return await bodies.job_body(services, await get_job(services, manifest.project, jobId))


@router.put(
    "/{jobId}",
    dependencies=[requires(Scope.JOBS, "job.update")],
    operation_id="updateJob",
    summary="Update a Job",
    openapi_extra=request_body(UpdateJob, also={NDJSON: _LINES}),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def update(request: Request, services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobUpdated:
    """Replace all of the Job but its id. JobRuns that have begun execute what they began with."""
    return await update_job(services, manifest, jobId, request)


@router.delete(
    "/{jobId}",
    dependencies=[requires(Scope.JOBS, "job.delete")],
    status_code=204,
    operation_id="deleteJob",
    summary="Delete a Job",
    response_class=Response,
    responses=error_responses(Conflict),
)
async def delete(services: ServicesDep, manifest: ProjectDep, jobId: str) -> None:
    """Delete the Job. Its active JobRuns go on."""
    await services.jobs.delete(services.settings.workspace, manifest.project, jobId)


@router.get(
    "/{jobId}/payload",
    dependencies=[requires(Scope.JOBS)],
    operation_id="getJobPayload",
    summary="Get a Job's payload",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}, "description": "The items, a line each"}},
)
async def payload(services: ServicesDep, manifest: ProjectDep, jobId: str) -> Response:
    """Get all items of the payload, one JSON object on each line."""
    definition = await bodies.definition_of(services, await get_job(services, manifest.project, jobId))
    return StreamingResponse(stream_payload(services.store, definition), media_type=NDJSON)


@router.post(
    "/{jobId}/pause", dependencies=[requires(Scope.JOBS, "job.pause")], operation_id="pauseJob", summary="Pause a Job"
)
async def pause(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobPaused:
    """Start no JobRun by the schedule any more, and pause the active ones. A trigger starts one nevertheless."""
    await services.jobs.pause(services.settings.workspace, manifest.project, jobId, _PAUSED)
    await services.job_runs.pause_active(manifest.project, jobId)
    return JobPaused()


@router.post(
    "/{jobId}/resume",
    dependencies=[requires(Scope.JOBS, "job.resume")],
    operation_id="resumeJob",
    summary="Resume a Job",
)
async def resume(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobResumed:
    """Start JobRuns by the schedule again, and resume the active ones."""
    await services.jobs.resume(services.settings.workspace, manifest.project, jobId, _RESUMED)
    await services.job_runs.resume_active(manifest.project, jobId)
    return JobResumed()


@router.post(
    "/{jobId}/trigger",
    dependencies=[requires(Scope.JOBS, "job.trigger")],
    operation_id="triggerJob",
    summary="Trigger a Job",
)
async def trigger(services: ServicesDep, caller: CallerDep, manifest: ProjectDep, jobId: str) -> JobTriggered:
    """Start a JobRun now, also of a Job that is paused."""
    ref = (await get_job(services, manifest.project, jobId)).ref
    job_run_id = names.job_run_id(new_run_id())
    add_log_fields(jobRunId=job_run_id)
    job_run = JobRunInput(
        workspace=ref.workspace,
        project=ref.project,
        job_id=ref.job_id,
        definition=ref.definition,
        type=JobRunType.MANUAL,
        started_by=caller.actor,
    )
    await services.job_runs.start(job_run_id, job_run)
    return JobTriggered(job_run_id=job_run_id)
