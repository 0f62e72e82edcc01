"""Jobs: the calls (docs/contract.md, section 17), and their pages."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from starlette.responses import Response, StreamingResponse

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.openapi import request_body
from api.jobs import job_runs
from api.jobs.definition import NDJSON, define_job, discard_refused, read_job, shown_definition
from api.jobs.schedule_text import describe_schedule
from api.lookup import ProjectDep
from api.workspace_router import workspace_router
from callboard.projects.job_definition import read_definition, shown_items
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, CallboardError, Conflict, NotFound, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.job_runs import JobRunsQuery
from callboard.schemas.rest.jobs import (
    DEFAULT_REQUEST_TIMEOUT,
    LISTED_ITEMS,
    SHOWN_ITEMS,
    CreateJob,
    JobBody,
    JobCreated,
    JobHead,
    JobListItem,
    JobPaused,
    JobReason,
    JobResumed,
    JobTriggered,
    JobUpdated,
    NewJobHead,
    PayloadItem,
    UpdateJob,
)
from callboard.schemas.workflow import names
from callboard.schemas.workflow.job import JobDefinition, JobRef, JobSource
from callboard.schemas.workflow.job_run import JobRunInput, JobRunType
from callboard.starts.identity import new_run_id
from callboard.storage.job_payloads import definition_chunks, read_items, stream_payload
from callboard.telemetry.log_context import add_log_fields
from callboard.temporal.durations import format_duration
from callboard.temporal.job_runs import JobRunState
from callboard.temporal.jobs import JobState, require_source

_READ_AT_ONCE = 4
"""How many Jobs of a list are read from the artifact store at once."""
_LATEST_JOB_RUNS = 100
"""Number of a project's latest JobRuns among which the last one of each Job is looked for."""
_ITEMS_ON_PAGE = 10
_JOB_RUNS_ON_PAGE = 20
_DEFAULT = "as the project has it"
_PAUSED = "The Job was paused by a request."
_RESUMED = "The Job was resumed by a request."
_LINES = {"type": "string", "description": "The Job without its payload, and an item on each line."}

_REST = workspace_router("/{projectName}/jobs", tag="Jobs")
_PAGES = page_router("/projects/{projectName}/jobs")
routers = (_REST, _PAGES)

_READING = [requires(Scope.JOBS)]
_CREATING = [requires(Scope.JOBS, "job.create")]
_UPDATING = [requires(Scope.JOBS, "job.update")]
_DELETING = [requires(Scope.JOBS, "job.delete")]
_PAUSING = [requires(Scope.JOBS, "job.pause")]
_RESUMING = [requires(Scope.JOBS, "job.resume")]
_TRIGGERING = [requires(Scope.JOBS, "job.trigger")]


async def _find_job(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobState:
    return await services.jobs.get(services.settings.workspace, manifest.project, jobId)


JobDep = Annotated[JobState, Depends(_find_job)]


@_REST.get("", dependencies=_READING, operation_id="listJobs", summary="List a project's Jobs")
async def list_all(services: ServicesDep, manifest: ProjectDep) -> list[JobListItem]:
    """List all Jobs, sorted by id, each with the first 100 items of its payload at most."""
    states = await services.jobs.list_all(services.settings.workspace, manifest.project)
    return await _for_each(states, partial(_list_item, services))


@_REST.post(
    "",
    dependencies=_CREATING,
    status_code=201,
    operation_id="createJob",
    summary="Create a Job",
    openapi_extra=request_body(CreateJob, also={NDJSON: _LINES}),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def create(request: Request, services: ServicesDep, manifest: ProjectDep) -> JobCreated:
    """Create a Job. It is sent as JSON, or as lines: all but its payload, and then an item of it on each line."""
    head, items = await read_job(services, manifest, request, CreateJob, NewJobHead)
    return await create_job(services, manifest, head, items)


async def create_job(
    services: Services, manifest: Manifest, head: NewJobHead, items: AsyncIterator[PayloadItem]
) -> JobCreated:
    """Create a Job whose items are checked when they are read.

    Raises:
        BadRequest: A field is wrong.
        Conflict: There is a Job with this id.
        ConfigurationError, StoreError, Unavailable: See `define_job`, and `Jobs.create`.
    """
    add_log_fields(jobId=head.id)
    await _refuse_known(services, manifest, head.id)
    definition = await define_job(services, manifest, head.id, head, items)
    ref = JobRef(
        workspace=definition.workspace,
        project=definition.project,
        job_id=definition.job_id,
        definition=definition.ref,
        created_at=datetime.now(UTC),
    )
    try:
        await services.jobs.create(ref, definition.schedule)
    except CallboardError as error:
        await discard_refused(services, definition, error)
        raise
    return JobCreated(id=head.id)


@_REST.get("/{jobId}", dependencies=_READING, operation_id="getJob", summary="Get a Job")
async def get(services: ServicesDep, job: JobDep) -> JobBody:
    """Get all of the Job; its payload only if it has 1,000 items or fewer."""
    definition = await definition_of(services, job)
    fields = _fields(job, definition)
    if definition.payload_count <= SHOWN_ITEMS:
        fields["payload"] = await _items(services, definition, definition.payload_count)
    fields["proxy"] = definition.proxy and definition.proxy.masked_url
    return JobBody(projectId=job.ref.project, next_run_times=list(job.next_run_times), **fields)


@_REST.put(
    "/{jobId}",
    dependencies=_UPDATING,
    operation_id="updateJob",
    summary="Update a Job",
    openapi_extra=request_body(UpdateJob, also={NDJSON: _LINES}),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def update(request: Request, services: ServicesDep, manifest: ProjectDep, job: JobDep) -> JobUpdated:
    """Replace all of the Job but its id. JobRuns that have begun execute what they began with."""
    require_source(job.ref, JobSource.API)
    head, items = await read_job(services, manifest, request, UpdateJob, JobHead)
    return await update_job(services, manifest, job.ref.job_id, head, items)


async def update_job(
    services: Services,
    manifest: Manifest,
    job_id: str,
    head: JobHead,
    items: AsyncIterator[PayloadItem],
    instead_of: str | None = None,
) -> JobUpdated:
    """Update a Job, which has this definition until then, or any.

    Raises as `create_job`, NotFound if it was deleted meanwhile, and Conflict if it has another definition.
    """
    definition = await define_job(services, manifest, job_id, head, items)
    try:
        await services.jobs.update(
            definition.workspace,
            definition.project,
            job_id,
            definition.ref,
            definition.schedule,
            instead_of=instead_of,
        )
    except CallboardError as error:
        await discard_refused(services, definition, error)
        raise
    return JobUpdated(id=job_id)


@_REST.delete(
    "/{jobId}",
    dependencies=_DELETING,
    status_code=204,
    operation_id="deleteJob",
    summary="Delete a Job",
    response_class=Response,
    responses=error_responses(Conflict),
)
async def delete(services: ServicesDep, manifest: ProjectDep, jobId: str) -> None:
    """Delete the Job. Its active JobRuns go on."""
    await services.jobs.delete(services.settings.workspace, manifest.project, jobId)


@_REST.get(
    "/{jobId}/payload",
    dependencies=_READING,
    operation_id="getJobPayload",
    summary="Get a Job's payload",
    response_class=StreamingResponse,
    responses={200: {"content": {NDJSON: {}}, "description": "The items, a line each"}},
)
async def payload(services: ServicesDep, job: JobDep) -> Response:
    """Get all items of the payload, one JSON object on each line."""
    definition = await definition_of(services, job)
    return StreamingResponse(stream_payload(services.store, definition), media_type=NDJSON)


@_REST.post("/{jobId}/pause", dependencies=_PAUSING, operation_id="pauseJob", summary="Pause a Job")
async def pause(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobPaused:
    """Start no JobRun by the schedule any more, and pause the active ones. A trigger starts one nevertheless."""
    await services.jobs.pause(services.settings.workspace, manifest.project, jobId, _PAUSED)
    await services.job_runs.pause_active(manifest.project, jobId)
    return JobPaused()


@_REST.post("/{jobId}/resume", dependencies=_RESUMING, operation_id="resumeJob", summary="Resume a Job")
async def resume(services: ServicesDep, manifest: ProjectDep, jobId: str) -> JobResumed:
    """Start JobRuns by the schedule again, and resume the active ones."""
    await services.jobs.resume(services.settings.workspace, manifest.project, jobId, _RESUMED)
    await services.job_runs.resume_active(manifest.project, jobId)
    return JobResumed()


@_REST.post("/{jobId}/trigger", dependencies=_TRIGGERING, operation_id="triggerJob", summary="Trigger a Job")
async def trigger(services: ServicesDep, caller: CallerDep, job: JobDep) -> JobTriggered:
    """Start a JobRun now, also of a Job that is paused."""
    job_run_id = names.job_run_id(new_run_id())
    add_log_fields(jobRunId=job_run_id)
    job_run = JobRunInput(
        workspace=job.ref.workspace,
        project=job.ref.project,
        job_id=job.ref.job_id,
        definition=job.ref.definition,
        type=JobRunType.MANUAL,
        started_by=caller.actor,
    )
    await services.job_runs.start(job_run_id, job_run)
    return JobTriggered(job_run_id=job_run_id)


@_PAGES.get("", dependencies=_READING)
@_PAGES.get(".json", dependencies=_READING)
async def list_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the Jobs of a project, each with its last JobRun, if that is among the latest hundred."""
    states = await services.jobs.list_all(services.settings.workspace, manifest.project)
    latest = await _latest_job_runs(services, manifest.project) if states else {}
    definitions = await _for_each(states, partial(definition_of, services))
    rows = [
        _row(state, definition, latest.get(state.ref.job_id))
        for state, definition in zip(states, definitions, strict=True)
    ]
    deleted = request.query_params.get("deleted")
    return render_page(request, "jobs.html", {"jobs": rows}, manifest=manifest, deleted=deleted)


@_PAGES.get("/{jobId}", dependencies=_READING)
# The lower decorator is registered first, so that its path is matched first.
@_PAGES.get("/{jobId}.json", dependencies=_READING)
async def page(
    request: Request,
    services: ServicesDep,
    manifest: ProjectDep,
    job: JobDep,
    number: Annotated[int, Query(alias="page", ge=0, le=100_000)] = 0,
) -> Response:
    """Show a Job and its last JobRuns; `page` leads to earlier ones."""
    shown = await _list_item(services, job)
    query = JobRunsQuery.model_validate({"pageSize": _JOB_RUNS_ON_PAGE, "pageNumber": number})
    listed = await job_runs.list_page(services, manifest, shown.id, query)
    data = {
        "job": {
            **shown.model_dump(mode="json", by_alias=True),
            "next_run_times": [each.isoformat() for each in job.next_run_times],
        },
        **listed.model_dump(mode="json", by_alias=True),
    }
    return render_page(
        request,
        "job.html",
        data,
        manifest=manifest,
        configuration=shown.configuration,
        limits=_limits(shown.configuration),
        proxy=None if shown.proxy is None else shown.proxy.url,
        schedule=describe_schedule(shown.schedule),
        items=shown.payload[:_ITEMS_ON_PAGE],
        page=number,
        has_older=(number + 1) * _JOB_RUNS_ON_PAGE < listed.total_count,
        temporal_url=services.temporal_ui_url("schedules", shown.schedule_id),
    )


@_PAGES.post("/{jobId}/trigger", dependencies=_TRIGGERING)
async def trigger_by_form(services: ServicesDep, caller: CallerDep, _: FormDep, job: JobDep) -> Response:
    """Start a JobRun, and redirect to its page."""
    started = await trigger(services, caller, job)
    return redirect(f"/projects/{job.ref.project}/jobs/{job.ref.job_id}/runs/{started.job_run_id}")


@_PAGES.post("/{jobId}/pause", dependencies=_PAUSING)
async def pause_by_form(services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str) -> Response:
    """Pause the Job and its active JobRuns."""
    await pause(services, manifest, jobId)
    return redirect(f"/projects/{manifest.project}/jobs/{jobId}")


@_PAGES.post("/{jobId}/resume", dependencies=_RESUMING)
async def resume_by_form(services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str) -> Response:
    """Resume the Job and its active JobRuns."""
    await resume(services, manifest, jobId)
    return redirect(f"/projects/{manifest.project}/jobs/{jobId}")


@_PAGES.post("/{jobId}/delete", dependencies=_DELETING)
async def delete_by_form(services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str) -> Response:
    """Delete the Job; its JobRuns go on."""
    await delete(services, manifest, jobId)
    return redirect(f"/projects/{manifest.project}/jobs", deleted=jobId)


async def _refuse_known(services: Services, manifest: Manifest, job_id: str) -> None:
    """Refuse the id of a Job that exists, before its payload is read. Temporal sees to it that none is made twice."""
    try:
        await _find_job(services, manifest, job_id)
    except NotFound:
        return
    raise Conflict(f"There is a Job {job_id} already. Update it, or choose another id.")


async def _for_each[Read](states: Sequence[JobState], read: Callable[[JobState], Awaitable[Read]]) -> list[Read]:
    """Return what is read of each Job from the artifact store, of some of them at once."""
    places = asyncio.Semaphore(_READ_AT_ONCE)

    async def read_in_turn(state: JobState) -> Read:
        async with places:
            return await read(state)

    return list(await asyncio.gather(*map(read_in_turn, states)))


async def definition_of(services: Services, state: JobState) -> JobDefinition:
    """Return the definition that a Job has now. Raises StoreError."""
    return await read_definition(services.store, state.ref.project, state.ref.job_id, state.ref.definition)


async def _list_item(services: Services, state: JobState) -> JobListItem:
    """Return a Job as lists show it. Raises StoreError."""
    definition = await definition_of(services, state)
    fields = _fields(state, definition)
    fields["payload"] = await _items(services, definition, min(definition.payload_count, LISTED_ITEMS))
    if state.paused:
        fields["reason"] = JobReason(message=state.note or "The Job is paused.")
    return JobListItem(workspace_id=state.ref.workspace, project_id=state.ref.project, **fields)


def _fields(state: JobState, definition: JobDefinition) -> dict[str, Any]:
    return {
        **shown_definition(definition),
        "id": state.ref.job_id,
        "schedule": definition.schedule,
        "tags": list(definition.tags),
        "payload_count": definition.payload_count,
        "created_at": state.ref.created_at,
        "state": _state(state),
        "next_run_time": next(iter(state.next_run_times), None),
        "last_run_time": state.last_run_time,
        "source": state.ref.source,
        "schedule_id": state.schedule_id,
    }


def _state(state: JobState) -> Literal["ACTIVE", "PAUSED"]:
    return "PAUSED" if state.paused else "ACTIVE"


async def _items(services: Services, definition: JobDefinition, count: int) -> list[dict[str, Any]]:
    return shown_items(await read_items(services.store, definition_chunks(definition), 0, count))


async def _latest_job_runs(services: Services, project: str) -> dict[str, JobRunState]:
    """Return the last of a project's latest JobRuns by the Job that it belongs to. Raises Unavailable."""
    found = await services.job_runs.list_latest(services.settings.workspace, project, _LATEST_JOB_RUNS)
    return {job_run.job_id: job_run for job_run in sorted(found, key=lambda job_run: job_run.started_at)}


def _row(state: JobState, definition: JobDefinition, last: JobRunState | None) -> dict[str, Any]:
    next_run_time = next(iter(state.next_run_times), None)
    return {
        "id": state.ref.job_id,
        "state": _state(state),
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
            "runs": last.progress.succeeded + last.progress.failed,
            "startTime": last.started_at.isoformat(),
        },
    }


def _limits(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the limits of the Runs of a Job, in words."""
    retry: dict[str, int] = configuration.get("retry", {})
    attempts = retry.get("maximumAttempts")
    seconds = configuration.get("requestTimeout", DEFAULT_REQUEST_TIMEOUT)
    timeout = None if seconds == DEFAULT_REQUEST_TIMEOUT else format_duration(timedelta(seconds=seconds))
    return [("Attempts of a Run", str(attempts or _DEFAULT)), ("Time limit of an Attempt", timeout or _DEFAULT)]
