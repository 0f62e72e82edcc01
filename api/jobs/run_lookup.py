"""The call that finds a JobRun by its id alone (docs/contract.md, section 17.1)."""

from __future__ import annotations

from fastapi import Request

from api.dependencies import ServicesDep
from api.http.workspace_router import workspace_router
from api.jobs.results import results_link
from api.jobs.run_bodies import job_run_bodies
from api.projects.lookup import require_project
from schemas.rest.job_runs import JobRunDetails

router = workspace_router("/{projectName}/job-runs", tag="JobRuns")


@router.get("/{jobRunId}", summary="Find a JobRun")
async def find(
    request: Request,
    services: ServicesDep,
    projectName: str,  # noqa: N803 - the contract's names
    jobRunId: str,  # noqa: N803
) -> JobRunDetails:
    """Get the JobRun, which names its Job, and a link to its results once it has ended."""
    manifest = await require_project(services, projectName)
    state = await services.job_runs.find(services.settings.workspace, manifest.project, jobRunId)
    (body,) = await job_run_bodies(services, [state])
    return JobRunDetails(job_run=body, results=results_link(request, services, state))
