"""The page of one JobRun, its results as a file, and the actions on it."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import quote

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.jobs.data import job_run_figures, temporal_url
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.jobs import run_routes as rest
from api.jobs.run_bodies import job_run_bodies
from api.projects.lookup import require_project
from schemas.workflow.job_run import JobRunReasonType

router = APIRouter(
    route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/jobs/{job_id}/runs/{job_run_id}"
)
_JSON_ROUTES = APIRouter(
    route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/jobs/{job_id}/runs"
)


@router.get("")
@_JSON_ROUTES.get("/{job_run_id}.json")
async def job_run_page(
    request: Request, services: ServicesDep, _: SessionDep, project: str, job_id: str, job_run_id: str
) -> Response:
    """Show how far a JobRun has come."""
    manifest = await require_project(services, project)
    state = await services.job_runs.get(services.settings.workspace, manifest.project, job_id, job_run_id)
    (job_run,) = await job_run_bodies(services, [state])
    figures = await job_run_figures(services, job_run, datetime.now(UTC))
    has_ended = job_run.end_time is not None
    data = {
        "jobRun": job_run.model_dump(mode="json", by_alias=True),
        "runsByStatus": {status.value: count for status, count in figures.by_status.items()},
        "runsPerMinute": figures.per_minute,
        "secondsLeft": None if has_ended else figures.seconds_left,
    }
    return render_page(
        request,
        "job-run.html",
        data,
        project=manifest.project,
        logs_in=manifest.settings.auth_sessions.enabled,
        figures=figures,
        ended=has_ended,
        terminating=not has_ended and job_run.reason is not None and job_run.reason.type is JobRunReasonType.TERMINATED,
        temporal_url=temporal_url(services, "workflows", job_run.id),
    )


@router.get("/results")
async def results_file(services: ServicesDep, _: SessionDep, project: str, job_id: str, job_run_id: str) -> Response:
    """Serve the results of the Runs that have ended as a file, one JSON object on each line."""
    response = await rest.results(services, project, job_id, job_run_id)
    response.headers["content-disposition"] = f'attachment; filename="results_{job_run_id}.jsonl"'
    return response


@router.post("/pause")
async def pause(services: ServicesDep, _: FormDep, project: str, job_id: str, job_run_id: str) -> Response:
    """Start no further Run of the JobRun."""
    await rest.pause(services, project, job_id, job_run_id)
    return _redirect_to_job_run(project, job_id, job_run_id)


@router.post("/resume")
async def resume(services: ServicesDep, _: FormDep, project: str, job_id: str, job_run_id: str) -> Response:
    """Start Runs of the JobRun again."""
    await rest.resume(services, project, job_id, job_run_id)
    return _redirect_to_job_run(project, job_id, job_run_id)


@router.post("/terminate")
async def terminate(services: ServicesDep, _: FormDep, project: str, job_id: str, job_run_id: str) -> Response:
    """Cancel all Runs of the JobRun, and end it; its page then shows when it has ended."""
    await rest.terminate(services, project, job_id, job_run_id)
    return _redirect_to_job_run(project, job_id, job_run_id)


def _redirect_to_job_run(project: str, job_id: str, job_run_id: str) -> Response:
    path = "/".join(quote(part, safe="") for part in ("projects", project, "jobs", job_id, "runs", job_run_id))
    return RedirectResponse(f"/{path}", 303)


routers = (_JSON_ROUTES, router)
