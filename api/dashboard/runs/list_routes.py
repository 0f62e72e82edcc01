"""The page that lists a project's Runs."""

from __future__ import annotations

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import Form, SignedIn
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import local_query, page
from api.dashboard.runs.data import WITHIN, cancel_pending, filters_of, query_of, since
from api.dependencies import ServicesDep
from api.guards import require_project
from api.runs.records import run_list
from schemas.errors import BadRequest
from schemas.rest.runs import LIMIT
from schemas.workflow.run import RunStatus, RunType

router = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/projects/{project}/runs")
@router.get("/projects/{project}/runs.json")
async def all_runs(request: Request, parts: ServicesDep, _: SignedIn, project: str) -> Response:
    """Show a page of Runs, with filters in the address."""
    params = request.query_params
    filters = filters_of(params)
    if word := params.get("within"):
        return RedirectResponse(request.url.path + local_query({**filters, "startedAfter": since(word)}), 303)
    manifest = await require_project(parts, project)
    found = await run_list(parts, manifest.project, query_of(params))
    data = found.model_dump(mode="json", by_alias=True)
    return page(
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
        within=list(WITHIN),
        cursor=params.get("cursor"),
        canceled=params.get("canceled", ""),
        pending_here=any(run["status"] == "pending" for run in data["runs"]),
    )


@router.post("/projects/{project}/runs/cancel")
async def cancel_several(parts: ServicesDep, form: Form, project: str) -> Response:
    """Cancel those of the chosen that still wait."""
    manifest = await require_project(parts, project)
    chosen = form.getlist("run")
    if not chosen or len(chosen) > LIMIT:
        raise BadRequest(f"Choose the Runs to cancel: 1 to {LIMIT} of them.")
    canceled = await cancel_pending(parts, manifest.project, chosen)
    return RedirectResponse(f"/projects/{manifest.project}/runs?canceled={canceled}", 303)
