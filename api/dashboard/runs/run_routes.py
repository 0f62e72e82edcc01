"""The page of one Run, the files that the Run has left, and the actions on it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from fastapi.sse import EventSourceResponse
from starlette.responses import RedirectResponse, Response, StreamingResponse

from api.attempts.files import screenshot_of, trace_of
from api.attempts.log import followed_log, stored_log
from api.attempts.records import TRACE
from api.attempts.screencast import MEDIA_TYPE, can_watch, watch
from api.dashboard.auth import Form, SignedIn
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import page, wants_json
from api.dashboard.runs.data import is_delivering, run_data, validate_spans
from api.dashboard.runs.json_tree import tree_of
from api.dashboard.runs.timeline import bars_of, spans_of
from api.dashboard.viewer.urls import has_viewer, viewer_address
from api.dependencies import Services, ServicesDep
from api.guards import require_open_project
from api.http.raw_json import text_of
from api.runs.records import run_body
from api.runs.rerun import rerun
from schemas.errors import NotFound
from storage import keys

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/runs/{run_id}")
_FILES = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/runs")

_Number = Annotated[int, Path(ge=1, le=100_000)]


@_FILES.get("/{run_id}.json")
async def run_json(parts: ServicesDep, _: SignedIn, project: str, run_id: str) -> Response:
    """All that is known of it."""
    return Response(await run_body(parts, project, run_id), media_type="application/json")


@router.get("")
async def run_page(request: Request, parts: ServicesDep, _: SignedIn, project: str, run_id: str) -> Response:
    """All that is known of it, to be read."""
    if wants_json(request):
        return Response(await run_body(parts, project, run_id), media_type="application/json")
    run = await run_data(parts, project, run_id)
    manifest = await parts.catalog.current(project)
    return page(
        request,
        "run.html",
        {"run": run},
        project=project,
        logs_in=manifest is not None and manifest.settings.auth_sessions.enabled,
        base=f"/projects/{project}/runs/{run['runId']}",
        bars=bars_of(spans_of(run, await validate_spans(parts, run)), datetime.now(UTC)),
        input_tree=tree_of(run["input"]),
        result_tree=tree_of(run["result"]) if "result" in run else None,
        payloads_tree=tree_of(run["extendedPayloads"]) if run.get("extendedPayloads") else None,
        watchable={
            each["number"]
            for each in run["attempts"]
            if each["status"] == "started" and can_watch(parts, each["worker"], run["runId"], each["number"])
        },
        has_viewer=has_viewer(parts.settings),
        unfinished=run["status"] in ("pending", "started"),
        delivering=is_delivering(run, datetime.now(UTC)),
    )


@router.get("/result")
async def result(parts: ServicesDep, _: SignedIn, project: str, run_id: str) -> Response:
    """Serve what the API returned, byte for byte, as a file."""
    state = await parts.runs.state(parts.settings.workspace, project, run_id)
    if state.outcome is None or state.outcome.result is None:
        raise NotFound(f"Run {run_id} has no result.")
    text = await text_of(state.outcome.result, "result", run_id, parts.store)
    headers = {"content-disposition": f'attachment; filename="result_{run_id}.json"'}
    return Response(text, media_type="application/json", headers=headers)


@router.get("/attempts/{number}/log")
async def log(
    request: Request,
    parts: ServicesDep,
    _: SignedIn,
    project: str,
    run_id: str,
    number: _Number,
    follow: Annotated[bool, Query()] = False,  # noqa: FBT002 - it is a query parameter of the address
) -> Response:
    """Serve the log, a JSON object a line; with `follow`, an event for each until the Attempt has ended."""
    await _check(parts, project, run_id)
    if follow:
        last = request.headers.get("last-event-id", "")
        after = int(last) if last.isascii() and last.isdigit() and len(last) < 10 else 0
        events = followed_log(parts, project, run_id, number, after)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    return Response(await stored_log(parts, project, run_id, number), media_type="text/plain; charset=utf-8")


@router.get("/attempts/{number}/screenshot")
async def screenshot(parts: ServicesDep, _: SignedIn, project: str, run_id: str, number: _Number) -> Response:
    """Serve the last picture of the page."""
    await _check(parts, project, run_id)
    return await screenshot_of(parts, project, run_id, number)


@router.get("/attempts/{number}/live")
async def live(parts: ServicesDep, _: SignedIn, project: str, run_id: str, number: _Number) -> Response:
    """Its browser as it is now, picture by picture, while the Attempt runs on this host; then nothing any more."""
    await _check(parts, project, run_id)
    pictures = await watch(parts, project, run_id, number)
    return Response(status_code=204) if pictures is None else StreamingResponse(pictures, media_type=MEDIA_TYPE)


@router.get("/attempts/{number}/trace")
async def trace(parts: ServicesDep, _: SignedIn, project: str, run_id: str, number: _Number) -> Response:
    """Serve the trace as a file for Playwright's trace viewer."""
    await _check(parts, project, run_id)
    return await trace_of(parts, project, run_id, number)


@router.get("/attempts/{number}/trace/view")
async def show_trace(
    request: Request, parts: ServicesDep, _: SignedIn, project: str, run_id: str, number: _Number
) -> Response:
    """Lead to the trace in Playwright's own viewer, which has an origin of its own."""
    await _check(parts, project, run_id)
    if not await parts.store.exists(keys.attempt(project, run_id, number, TRACE)):
        raise NotFound(f"Attempt {number} of Run {run_id} has left no trace.")
    return RedirectResponse(viewer_address(request, parts, project, run_id, number), 303)


@router.post("/cancel")
async def cancel(parts: ServicesDep, _: Form, project: str, run_id: str) -> Response:
    """Ask for its end; the page then shows when it has come."""
    await parts.runs.cancel(parts.settings.workspace, project, run_id, wait=timedelta())
    return _back(project, run_id)


@router.post("/rerun")
async def run_again(parts: ServicesDep, _: Form, project: str, run_id: str) -> Response:
    """Start a new Run with the same inputs."""
    again = await rerun(parts, await require_open_project(parts, project), run_id, None)
    return _back(project, again.run_id)


@router.post("/deliveries/{delivery_id}/redeliver")
async def redeliver(parts: ServicesDep, _: Form, project: str, run_id: str, delivery_id: str) -> Response:
    """Send the same bytes once more."""
    await _check(parts, project, run_id)
    await parts.deliveries.redeliver(parts.settings.workspace, project, run_id, delivery_id)
    return _back(project, run_id)


async def _check(parts: Services, project: str, run_id: str) -> None:
    """Raise NotFound unless the project has this Run."""
    await parts.runs.state(parts.settings.workspace, project, run_id)


def _back(project: str, run_id: str) -> Response:
    return RedirectResponse(f"/projects/{project}/runs/{run_id}", 303)


routers = (_FILES, router)
