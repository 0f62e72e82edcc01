"""The page that lists a project's Jobs, the page of one Job, and the actions on it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Query, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.jobs.data import jobs_data, temporal_url
from api.dashboard.jobs.schedule_text import describe_schedule
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import query_string, render_page
from api.dependencies import ServicesDep
from api.jobs import routes as rest
from api.jobs.bodies import job_list
from api.jobs.changes import get_job
from api.jobs.run_bodies import job_run_list
from api.projects.lookup import require_project
from schemas.rest.job_runs import JobRunsQuery
from schemas.rest.jobs import DEFAULT_REQUEST_TIMEOUT
from temporal.durations import format_duration

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/jobs")
_LIST = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}")

_DEFAULT = "as the project has it"
_SHOWN_ITEMS = 10
_JOB_RUNS = 20
"""Number of JobRuns on a page."""


@_LIST.get("/jobs")
@_LIST.get("/jobs.json")
async def list_page(request: Request, services: ServicesDep, _: SessionDep, project: str) -> Response:
    """Show the Jobs of a project."""
    manifest = await require_project(services, project)
    return render_page(
        request,
        "jobs.html",
        {"jobs": await jobs_data(services, manifest.project)},
        project=manifest.project,
        logs_in=manifest.settings.auth_sessions.enabled,
        deleted=request.query_params.get("deleted"),
    )


@router.get("/{job_id}")
@router.get("/{job_id}.json")  # the lower decorator is registered first, so that its path is matched first
async def job_page(
    request: Request,
    services: ServicesDep,
    _: SessionDep,
    project: str,
    job_id: str,
    page: Annotated[int, Query(ge=0, le=100_000)] = 0,
) -> Response:
    """Show a Job and its last JobRuns; `page` leads to earlier ones."""
    manifest = await require_project(services, project)
    state = await get_job(services, manifest.project, job_id)
    (job,) = await job_list(services, [state])
    listed = await job_run_list(
        services, manifest.project, job_id, JobRunsQuery.model_validate({"pageSize": _JOB_RUNS, "pageNumber": page})
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
        project=manifest.project,
        logs_in=manifest.settings.auth_sessions.enabled,
        configuration=job.configuration,
        limits=_limits(job.configuration),
        proxy=None if job.proxy is None else job.proxy.url,
        schedule=describe_schedule(job.schedule),
        items=job.payload[:_SHOWN_ITEMS],
        page=page,
        has_older=(page + 1) * _JOB_RUNS < listed.total_count,
        temporal_url=temporal_url(services, "schedules", job.schedule_id),
    )


@router.post("/{job_id}/trigger")
async def trigger(services: ServicesDep, _: FormDep, project: str, job_id: str) -> Response:
    """Start a JobRun, and redirect to its page."""
    started = await rest.trigger(services, project, job_id)
    return RedirectResponse(f"{_job_path(project, job_id)}/runs/{started.job_run_id}", 303)


@router.post("/{job_id}/pause")
async def pause(services: ServicesDep, _: FormDep, project: str, job_id: str) -> Response:
    """Pause the Job and its active JobRuns."""
    await rest.pause(services, project, job_id)
    return RedirectResponse(_job_path(project, job_id), 303)


@router.post("/{job_id}/resume")
async def resume(services: ServicesDep, _: FormDep, project: str, job_id: str) -> Response:
    """Resume the Job and its active JobRuns."""
    await rest.resume(services, project, job_id)
    return RedirectResponse(_job_path(project, job_id), 303)


@router.post("/{job_id}/delete")
async def delete(services: ServicesDep, _: FormDep, project: str, job_id: str) -> Response:
    """Delete the Job; its JobRuns go on."""
    await rest.delete(services, project, job_id)
    return RedirectResponse(f"/projects/{quote(project, safe='')}/jobs{query_string({'deleted': job_id})}", 303)


def _limits(configuration: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the limits of the Runs of a Job, in words."""
    retry: dict[str, int] = configuration.get("retry", {})
    attempts = retry.get("maximumAttempts")
    seconds = configuration.get("requestTimeout", DEFAULT_REQUEST_TIMEOUT)
    timeout = None if seconds == DEFAULT_REQUEST_TIMEOUT else format_duration(timedelta(seconds=seconds))
    return [("Attempts of a Run", str(attempts or _DEFAULT)), ("Time limit of an Attempt", timeout or _DEFAULT)]


def _job_path(project: str, job_id: str) -> str:
    return f"/projects/{quote(project, safe='')}/jobs/{quote(job_id, safe='')}"


routers = (_LIST, router)
