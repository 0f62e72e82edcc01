"""The page that lists a project's Jobs, the page of one Job, and the actions on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal
from urllib.parse import quote

from fastapi import Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.jobs.data import jobs_data
from api.dashboard.jobs.schedule_text import describe_schedule
from api.dashboard.page_route import page_router
from api.dashboard.rendering import query_string, render_page
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.jobs import routes as rest
from api.jobs.bodies import job_list
from api.jobs.changes import get_job
from api.jobs.run_bodies import job_run_list
from api.projects.lookup import ProjectDep
from schemas.rest.access import Scope
from schemas.rest.job_runs import JobRunsQuery
from schemas.rest.jobs import DEFAULT_REQUEST_TIMEOUT
from temporal.durations import format_duration

router = page_router("/projects/{projectName}/jobs")

_DEFAULT = "as the project has it"
_SHOWN_ITEMS = 10
_JOB_RUNS = 20
"""Number of JobRuns on a page."""


@router.get("", dependencies=[requires(Scope.JOBS)])
@router.get(".json", dependencies=[requires(Scope.JOBS)])
async def list_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show the Jobs of a project."""
    return render_page(
        request,
        "jobs.html",
        {"jobs": await jobs_data(services, manifest.project)},
        manifest=manifest,
        deleted=request.query_params.get("deleted"),
    )


@router.get("/{jobId}", dependencies=[requires(Scope.JOBS)])
# The lower decorator is registered first, so that its path is matched first.
@router.get("/{jobId}.json", dependencies=[requires(Scope.JOBS)])
async def job_page(
    request: Request,
    services: ServicesDep,
    manifest: ProjectDep,
    jobId: str,
    page: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Show a Job and its last JobRuns; `page` leads to earlier ones."""
    state = await get_job(services, manifest.project, jobId)
    (job,) = await job_list(services, [state])
    listed = await job_run_list(
        services, manifest.project, jobId, JobRunsQuery.model_validate({"pageSize": _JOB_RUNS, "pageNumber": page})
    )
    data = {
        "job": {
            **job.model_dump(mode="json", by_alias=True),
            "next_run_times": [each.isoformat() for each in state.next_run_times],
        },
        **listed.model_dump(mode="json", by_alias=True),
    }
    return render_page(
        request,
        "job.html",
        data,
        manifest=manifest,
        configuration=job.configuration,
        limits=_limits(job.configuration),
        proxy=None if job.proxy is None else job.proxy.url,
        schedule=describe_schedule(job.schedule),
        items=job.payload[:_SHOWN_ITEMS],
        page=page,
        has_older=(page + 1) * _JOB_RUNS < listed.total_count,
        temporal_url=services.temporal_ui_url("schedules", job.schedule_id),
    )


@router.post("/{jobId}/trigger", dependencies=[requires(Scope.JOBS, "job.trigger")])
async def trigger(services: ServicesDep, caller: CallerDep, _: FormDep, manifest: ProjectDep, jobId: str) -> Response:
    """Start a JobRun, and redirect to its page."""
    started = await rest.trigger(services, caller, manifest, jobId)
    return RedirectResponse(f"{_job_path(manifest.project, jobId)}/runs/{started.job_run_id}", 303)


@router.post("/{jobId}/delete", dependencies=[requires(Scope.JOBS, "job.delete")])
async def delete(services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str) -> Response:
    """Delete the Job; its JobRuns go on."""
    await rest.delete(services, manifest, jobId)
    return RedirectResponse(f"/projects/{quote(manifest.project, safe='')}/jobs{query_string({'deleted': jobId})}", 303)


@router.post("/{jobId}/{change}", dependencies=[requires(Scope.JOBS, "job.{change}")])
async def pause_or_resume(
    services: ServicesDep, _: FormDep, manifest: ProjectDep, jobId: str, change: Literal["pause", "resume"]
) -> Response:
    """Pause or resume the Job and its active JobRuns."""
    await (rest.pause if change == "pause" else rest.resume)(services, manifest, jobId)
    return RedirectResponse(_job_path(manifest.project, jobId), 303)


def _limits(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the limits of the Runs of a Job, in words."""
    retry: dict[str, int] = configuration.get("retry", {})
    attempts = retry.get("maximumAttempts")
    seconds = configuration.get("requestTimeout", DEFAULT_REQUEST_TIMEOUT)
    timeout = None if seconds == DEFAULT_REQUEST_TIMEOUT else format_duration(timedelta(seconds=seconds))
    return [("Attempts of a Run", str(attempts or _DEFAULT)), ("Time limit of an Attempt", timeout or _DEFAULT)]


def _job_path(project: str, job_id: str) -> str:
    return f"/projects/{quote(project, safe='')}/jobs/{quote(job_id, safe='')}"
