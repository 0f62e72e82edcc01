"""The page that lists a project's Runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import query_string, render_page
from api.dashboard.runs.data import AGES, cancel_pending, created_since, parse_runs_query, read_filters
from api.dependencies import ServicesDep
from api.projects.lookup import require_project
from api.runs.bodies import list_runs
from schemas.errors import BadRequest
from schemas.rest.runs import LIMIT
from schemas.workflow.run import RunStatus, RunType

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/projects/{project}/runs")
@router.get("/projects/{project}/runs.json")
async def list_page(request: Request, services: ServicesDep, _: SessionDep, project: str) -> Response:
    """Show a page of Runs; the filters are in the query."""
    params = request.query_params
    filters = read_filters(params)
    if age := params.get("within"):
        return RedirectResponse(request.url.path + query_string({**filters, "startedAfter": created_since(age)}), 303)
    manifest = await require_project(services, project)
    runs = await list_runs(services, manifest.project, parse_runs_query(params))
    data = runs.model_dump(mode="json", by_alias=True)
    return render_page(
        request,
        "runs.html",
        data,
        project=manifest.project,
        logs_in=manifest.settings.auth_sessions.enabled,
        apis=manifest.apis,
        filters=filters,
        is_filtered=any(filters.values()),
        statuses=[each.value for each in RunStatus],
        types=[each.value for each in RunType],
        within=list(AGES),
        cursor=params.get("cursor"),
        canceled=params.get("canceled", ""),
        pending_here=any(run["status"] == "pending" for run in data["runs"]),
    )


@router.post("/projects/{project}/runs/cancel")
async def cancel_selected(services: ServicesDep, form: FormDep, project: str) -> Response:
    """Cancel the selected Runs that are still pending."""
    manifest = await require_project(services, project)
    run_ids = form.getlist("run")
    if not run_ids or len(run_ids) > LIMIT:
        raise BadRequest(f"Choose the Runs to cancel: 1 to {LIMIT} of them.")
    canceled = await cancel_pending(services, manifest.project, run_ids)
    return RedirectResponse(f"/projects/{manifest.project}/runs?canceled={canceled}", 303)
