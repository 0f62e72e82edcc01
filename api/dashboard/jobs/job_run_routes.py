"""The page of one JobRun, its results as a file, and the actions on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal
from urllib.parse import quote

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.jobs.data import job_run_figures
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import ServicesDep
from api.http.access import requires
from api.jobs import run_routes as rest
from api.jobs.run_bodies import job_run_bodies
from api.projects.lookup import ProjectDep
from schemas.rest.access import Scope
from schemas.workflow.job_run import JobRunReasonType

router = page_router("/projects/{projectName}/jobs/{jobId}/runs/{jobRunId}")


@router.get("", dependencies=[requires(Scope.JOBS)])
# The lower decorator is registered first, so that its path is matched first.
@router.get(".json", dependencies=[requires(Scope.JOBS)])
async def job_run_page(
    request: Request, services: ServicesDep, manifest: ProjectDep, state: rest.JobRunDep
) -> Response:
    """Show how far a JobRun has come."""
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
        manifest=manifest,
        figures=figures,
        ended=has_ended,
        terminating=not has_ended and job_run.reason is not None and job_run.reason.type is JobRunReasonType.TERMINATED,
        temporal_url=services.temporal_ui_url("workflows", job_run.id),
    )


@router.get("/results", dependencies=[requires(Scope.JOBS)])
async def results_file(services: ServicesDep, job_run: rest.JobRunDep) -> Response:
    """Serve the results of the Runs that have ended as a file, one JSON object on each line."""
    response = await rest.results(services, job_run)
    response.headers["content-disposition"] = f'attachment; filename="results_{job_run.id}.jsonl"'
    return response


_CHANGES = {"pause": rest.pause, "resume": rest.resume, "terminate": rest.terminate}


@router.post("/{change}", dependencies=[requires(Scope.JOBS, "job-run.{change}")])
async def change_job_run(
    services: ServicesDep,
    _: FormDep,
    manifest: ProjectDep,
    jobId: str,
    jobRunId: str,
    change: Literal["pause", "resume", "terminate"],
) -> Response:
    """Pause, resume or terminate the JobRun; its page then shows what comes of that."""
    await _CHANGES[change](services, manifest, jobId, jobRunId)
    path = "/".join(quote(part, safe="") for part in ("projects", manifest.project, "jobs", jobId, "runs", jobRunId))
    return RedirectResponse(f"/{path}", 303)
