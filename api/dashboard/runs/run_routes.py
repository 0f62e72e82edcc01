"""The page that lists a project's Runs, the page of one Run, the files that the Run has left, and the actions on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.attempts.live_view import is_watchable
from api.attempts.trace_viewer import has_trace_viewer
from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import query_string, render_page, wants_json
from api.dashboard.runs.data import (
    AGES,
    cancel_pending,
    created_since,
    is_delivering,
    parse_runs_query,
    read_filters,
    validate_spans,
)
from api.dashboard.runs.timeline import layout_bars, run_spans
from api.dependencies import ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.projects.lookup import OpenProjectDep, ProjectDep, RunDep
from api.runs import routes as runs
from api.runs.bodies import list_runs, run_json
from api.runs.rerun import start_rerun
from api.runs.result import load_json
from schemas.errors import BadRequest, NotFound
from schemas.rest.access import Scope
from schemas.rest.runs import LIMIT
from schemas.workflow.run import RunStatus, RunType

router = page_router("/projects/{projectName}/runs")
routers = (router,)


@router.get("", dependencies=[requires(Scope.RUNS_READ)])
@router.get(".json", dependencies=[requires(Scope.RUNS_READ)])
async def list_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show a page of Runs; the filters are in the query."""
    params = request.query_params
    filters = read_filters(params)
    if age := params.get("within"):
        return RedirectResponse(request.url.path + query_string({**filters, "startedAfter": created_since(age)}), 303)
    page = await list_runs(services, manifest.project, parse_runs_query(params))
    data = page.model_dump(mode="json", by_alias=True)
    return render_page(
        request,
        "runs.html",
        data,
        manifest=manifest,
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


@router.post("/cancel", dependencies=[requires(Scope.RUNS_CANCEL, "run.cancel")])
async def cancel_selected(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: ProjectDep
) -> Response:
    """Cancel the selected Runs that are still pending."""
    run_ids = form.getlist("run")
    if not run_ids or len(run_ids) > LIMIT:
        raise BadRequest(f"Choose the Runs to cancel: 1 to {LIMIT} of them.")
    canceled: list[str] = []
    audit_note(request.scope).runs = canceled
    await cancel_pending(services, manifest.project, run_ids, canceled, caller.actor)
    return RedirectResponse(f"/projects/{manifest.project}/runs?canceled={len(canceled)}", 303)


router.get("/{runId}.json", dependencies=[requires(Scope.RUNS_READ)])(runs.get)


@router.get("/{runId}", dependencies=[requires(Scope.RUNS_READ)])
async def run_page(request: Request, services: ServicesDep, projectName: str, runId: str) -> Response:
    """Show the page of a Run."""
    if wants_json(request):
        return await runs.get(services, projectName, runId)
    run = json.loads((await run_json(services, projectName, runId)).text)
    manifest = await services.catalog.get_current(projectName)
    return render_page(
        request,
        "run.html",
        {"run": run},
        project=projectName,
        logs_in=manifest is not None and manifest.settings.auth_sessions.enabled,
        base=f"/projects/{projectName}/runs/{run['runId']}",
        bars=layout_bars(run_spans(run, await validate_spans(services, run)), datetime.now(UTC)),
        watchable={
            each["number"]
            for each in run["attempts"]
            if each["status"] == "started" and is_watchable(services, each["worker"], run["runId"], each["number"])
        },
        has_trace_viewer=has_trace_viewer(services.settings),
        unfinished=run["status"] in ("pending", "started"),
        delivering=is_delivering(run, datetime.now(UTC)),
    )


@router.get("/{runId}/result", dependencies=[requires(Scope.RUNS_READ)])
async def result_file(services: ServicesDep, projectName: str, runId: str) -> Response:
    """Serve what the API returned, byte for byte, as a file."""
    state = await services.runs.get_state(services.settings.workspace, projectName, runId)
    if state.outcome is None or state.outcome.result is None:
        raise NotFound(f"Run {runId} has no result.")
    result = await load_json(state.outcome.result, "result", runId, services.store)
    headers = {"content-disposition": f'attachment; filename="result_{runId}.json"'}
    return Response(result.text, media_type="application/json", headers=headers)


@router.post("/{runId}/cancel", dependencies=[requires(Scope.RUNS_CANCEL, "run.cancel")])
async def cancel(services: ServicesDep, caller: CallerDep, _: FormDep, projectName: str, runId: str) -> Response:
    """Request the cancellation of the Run; its page then shows when it has ended."""
    await services.runs.cancel(services.settings.workspace, projectName, runId, by=caller.actor)
    return _redirect_to_run(projectName, runId)


@router.post("/{runId}/rerun", dependencies=[requires(Scope.RUNS_START, "run.rerun")])
async def rerun(services: ServicesDep, caller: CallerDep, _: FormDep, manifest: OpenProjectDep, runId: str) -> Response:
    """Start a new Run with the same inputs."""
    started = await start_rerun(services, manifest, runId, None, caller.actor)
    return _redirect_to_run(manifest.project, started.run_id)


@router.post(
    "/{runId}/deliveries/{deliveryId}/redeliver", dependencies=[requires(Scope.RUNS_START, "delivery.redeliver")]
)
async def redeliver(
    services: ServicesDep, _: FormDep, manifest: ProjectDep, _run: RunDep, runId: str, deliveryId: str
) -> Response:
    """Send the same body to the sink once more."""
    await services.deliveries.redeliver(services.settings.workspace, manifest.project, runId, deliveryId)
    return _redirect_to_run(manifest.project, runId)


def _redirect_to_run(project: str, run_id: str) -> Response:
    return RedirectResponse(f"/projects/{project}/runs/{run_id}", 303)
