"""The page that lists a project's Runs, the page of one Run, the files that the Run has left, and the actions on it."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated
from urllib.parse import quote

from fastapi import APIRouter, Path, Query, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api.attempts.files import screenshot_response, trace_response
from api.attempts.live_view import MEDIA_TYPE, is_watchable, watch_attempt
from api.attempts.log import follow_log, read_log
from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import query_string, render_page, wants_json
from api.dashboard.runs.data import (
    AGES,
    cancel_pending,
    created_since,
    is_delivering,
    parse_runs_query,
    read_filters,
    run_data,
    validate_spans,
)
from api.dashboard.runs.timeline import layout_bars, run_spans
from api.dependencies import Services, ServicesDep
from api.projects.lookup import require_open_project, require_project
from api.runs.bodies import list_runs, run_json
from api.runs.rerun import start_rerun
from api.runs.result import load_json
from schemas.errors import BadRequest, NotFound
from schemas.rest.runs import LIMIT
from schemas.workflow.run import RunStatus, RunType
from security.signed_links import TraceRef, sign_link
from settings import Settings
from storage import keys

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/runs/{run_id}")
_RUNS = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/runs")

_Number = Annotated[int, Path(ge=1, le=100_000)]


@_RUNS.get("")
@_RUNS.get(".json")
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


@_RUNS.post("/cancel")
async def cancel_selected(services: ServicesDep, form: FormDep, project: str) -> Response:
    """Cancel the selected Runs that are still pending."""
    manifest = await require_project(services, project)
    run_ids = form.getlist("run")
    if not run_ids or len(run_ids) > LIMIT:
        raise BadRequest(f"Choose the Runs to cancel: 1 to {LIMIT} of them.")
    canceled = await cancel_pending(services, manifest.project, run_ids)
    return RedirectResponse(f"/projects/{manifest.project}/runs?canceled={canceled}", 303)


@_RUNS.get("/{run_id}.json")
async def run_as_json(services: ServicesDep, _: SessionDep, project: str, run_id: str) -> Response:
    """Serve all that is known of the Run as JSON."""
    return Response((await run_json(services, project, run_id)).text, media_type="application/json")


@router.get("")
async def run_page(request: Request, services: ServicesDep, _: SessionDep, project: str, run_id: str) -> Response:
    """Show the page of a Run."""
    if wants_json(request):
        return await run_as_json(services, _, project, run_id)
    run = await run_data(services, project, run_id)
    manifest = await services.catalog.get_current(project)
    return render_page(
        request,
        "run.html",
        {"run": run},
        project=project,
        logs_in=manifest is not None and manifest.settings.auth_sessions.enabled,
        base=f"/projects/{project}/runs/{run['runId']}",
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


@router.get("/result")
async def result_file(services: ServicesDep, _: SessionDep, project: str, run_id: str) -> Response:
    """Serve what the API returned, byte for byte, as a file."""
    state = await services.runs.get_state(services.settings.workspace, project, run_id)
    if state.outcome is None or state.outcome.result is None:
        raise NotFound(f"Run {run_id} has no result.")
    result = await load_json(state.outcome.result, "result", run_id, services.store)
    headers = {"content-disposition": f'attachment; filename="result_{run_id}.json"'}
    return Response(result.text, media_type="application/json", headers=headers)


@router.get("/attempts/{number}/log")
async def log(
    request: Request,
    services: ServicesDep,
    _: SessionDep,
    project: str,
    run_id: str,
    number: _Number,
    follow: Annotated[bool, Query()] = False,  # noqa: FBT002 - it is a query parameter of the address
) -> Response:
    """Serve the log, a JSON object a line; with `follow`, an event for each until the Attempt has ended."""
    await _require_run(services, project, run_id)
    if follow:
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0
        events = follow_log(services, project, run_id, number, after)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    return Response(await read_log(services, project, run_id, number), media_type="text/plain; charset=utf-8")


@router.get("/attempts/{number}/screenshot")
async def screenshot(services: ServicesDep, _: SessionDep, project: str, run_id: str, number: _Number) -> Response:
    """Serve the last picture of the page."""
    await _require_run(services, project, run_id)
    return await screenshot_response(services, project, run_id, number)


@router.get("/attempts/{number}/live")
async def live(services: ServicesDep, _: SessionDep, project: str, run_id: str, number: _Number) -> Response:
    """Stream pictures of the Attempt's browser while it runs on this host; answer 204 if it does not."""
    await _require_run(services, project, run_id)
    pictures = await watch_attempt(services, project, run_id, number)
    return Response(status_code=204) if pictures is None else StreamingResponse(pictures, media_type=MEDIA_TYPE)


@router.get("/attempts/{number}/trace")
async def trace(services: ServicesDep, _: SessionDep, project: str, run_id: str, number: _Number) -> Response:
    """Serve the trace as a file for Playwright's trace viewer."""
    await _require_run(services, project, run_id)
    return await trace_response(services, project, run_id, number)


@router.get("/attempts/{number}/trace/view")
async def view_trace(
    request: Request, services: ServicesDep, _: SessionDep, project: str, run_id: str, number: _Number
) -> Response:
    """Redirect to the trace in Playwright's own viewer, which has an origin of its own."""
    await _require_run(services, project, run_id)
    if not await services.store.exists(keys.trace(project, run_id, number)):
        raise NotFound(f"Attempt {number} of Run {run_id} has left no trace.")
    return RedirectResponse(trace_viewer_url(request, services, project, run_id, number), 303)


@router.post("/cancel")
async def cancel(services: ServicesDep, _: FormDep, project: str, run_id: str) -> Response:
    """Request the cancellation of the Run; its page then shows when it has ended."""
    await services.runs.cancel(services.settings.workspace, project, run_id)
    return _redirect_to_run(project, run_id)


@router.post("/rerun")
async def rerun(services: ServicesDep, _: FormDep, project: str, run_id: str) -> Response:
    """Start a new Run with the same inputs."""
    started = await start_rerun(services, await require_open_project(services, project), run_id, None)
    return _redirect_to_run(project, started.run_id)


@router.post("/deliveries/{delivery_id}/redeliver")
async def redeliver(services: ServicesDep, _: FormDep, project: str, run_id: str, delivery_id: str) -> Response:
    """Send the same body to the sink once more."""
    await _require_run(services, project, run_id)
    await services.deliveries.redeliver(services.settings.workspace, project, run_id, delivery_id)
    return _redirect_to_run(project, run_id)


async def _require_run(services: Services, project: str, run_id: str) -> None:
    """Raise NotFound unless the project has this Run."""
    await services.runs.get_state(services.settings.workspace, project, run_id)


def _redirect_to_run(project: str, run_id: str) -> Response:
    return RedirectResponse(f"/projects/{project}/runs/{run_id}", 303)


routers = (_RUNS, router)


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
