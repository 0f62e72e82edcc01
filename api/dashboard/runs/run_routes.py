"""The page that lists a project's Runs, the page of one Run, the files that the Run has left, and the actions on it."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import Depends, Query, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api.attempts import routes as attempts
from api.attempts.live_view import MEDIA_TYPE, is_watchable, watch_attempt
from api.attempts.log import follow_log, read_log
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
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.projects.lookup import OpenProjectDep, ProjectDep, RunDep, require_run
from api.runs import routes as runs
from api.runs.bodies import list_runs, run_json
from api.runs.rerun import start_rerun
from api.runs.result import load_json
from schemas.errors import BadRequest, NotFound
from schemas.rest.access import Scope
from schemas.rest.runs import LIMIT
from schemas.workflow.run import RunStatus, RunType
from security.signed_links import TraceRef, sign_link
from settings import Settings
from storage import keys

router = page_router("/projects/{projectName}/runs")
_ATTEMPT = page_router(
    "/projects/{projectName}/runs/{runId}/attempts/{number}", requires(Scope.RUNS_READ), Depends(require_run)
)
_ATTEMPT.get("/screenshot")(attempts.screenshot)
_ATTEMPT.get("/trace")(attempts.trace)
routers = (router, _ATTEMPT)


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


@_ATTEMPT.get("/log")
async def log(
    services: ServicesDep,
    projectName: str,
    runId: str,
    number: attempts.Number,
    follow: Annotated[bool, Query()] = False,  # noqa: FBT002 - it is a query parameter of the address
    last_event_id: attempts.LastEventId = 0,
) -> Response:
    """Serve the log, a JSON object a line; with `follow`, an event for each until the Attempt has ended."""
    if follow:
        events = follow_log(services, projectName, runId, number, last_event_id)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    return Response(await read_log(services, projectName, runId, number), media_type="text/plain; charset=utf-8")


@_ATTEMPT.get("/live")
async def live(services: ServicesDep, projectName: str, runId: str, number: attempts.Number) -> Response:
    """Stream pictures of the Attempt's browser while it runs on this host; answer 204 if it does not."""
    pictures = await watch_attempt(services, projectName, runId, number)
    return Response(status_code=204) if pictures is None else StreamingResponse(pictures, media_type=MEDIA_TYPE)


@_ATTEMPT.get("/trace/view")
async def view_trace(
    request: Request, services: ServicesDep, projectName: str, runId: str, number: attempts.Number
) -> Response:
    """Redirect to the trace in Playwright's own viewer, which has an origin of its own."""
    if not await services.store.exists(keys.trace(projectName, runId, number)):
        raise NotFound(f"Attempt {number} of Run {runId} has left no trace.")
    return RedirectResponse(trace_viewer_url(request, services, projectName, runId, number), 303)


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


_OTHER_LOOPBACK_NAME = {"127.0.0.1": "localhost", "localhost": "127.0.0.1"}
"""Other name of each name of loopback. Cookies ignore ports, so the viewer is addressed by another name than the
pages: then the browser does not send the pages' cookie to it."""


def has_trace_viewer(settings: Settings) -> bool:
    """Tell whether traces can be shown: the viewer must be served, and there must be a key to seal its addresses."""
    return bool(settings.secret_key) and bool(settings.viewer_url or settings.viewer_port)


def trace_viewer_url(request: Request, services: Services, project: str, run_id: str, number: int) -> str:
    """Return the address at which the viewer shows the trace of an Attempt; it is valid for an hour.

    Raises:
        ConfigurationError: There is no key to seal the address with.
    """
    address, _ = sign_link(TraceRef(services.settings.workspace, project, run_id, number), services.ring)
    return f"{_origin(request, services.settings)}/index.html?trace={quote(f'traces/{address}.zip', safe='')}"


def _origin(request: Request, settings: Settings) -> str:
    if settings.viewer_url is not None:
        return settings.viewer_url.rstrip("/")
    host = request.url.hostname or settings.host
    host = _OTHER_LOOPBACK_NAME.get(host, host)
    return f"{request.url.scheme}://{f'[{host}]' if ':' in host else host}:{settings.viewer_port}"
