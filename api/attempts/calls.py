"""Attempts and what they leave: record, log, trace, screenshot, files (docs/contract.md, section 13.4).

These are the calls, and the addresses of a Run's page that answer the same to a browser. A page has more: the
trace in Playwright's viewer.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query, Request
from fastapi.sse import EventSourceResponse
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from api.attempts.artifacts import get_attempt, screenshot_response, trace_response
from api.attempts.files import file_response, list_files, preview_response
from api.attempts.log import follow_log, read_log
from api.attempts.trace_viewer import trace_viewer_url
from api.dashboard.page_route import page_router
from api.dependencies import ServicesDep
from api.http.access import requires
from api.lookup import require_run
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, NotFound
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.attempt import AttemptBody
from callboard.schemas.rest.base import QueryModel, expects
from callboard.schemas.rest.files import LinkedFiles
from callboard.storage import object_keys

_Number = Annotated[
    int,
    Path(ge=1, le=100_000, description="The number of the Attempt within its Run, from 1."),
    expects("the number of an Attempt, from 1"),
]
_LastEventId = Annotated[
    int,
    Header(
        alias="Last-Event-ID",
        ge=0,
        description="The id of the last event that was received: the stream continues behind it.",
    ),
    expects("the id of an event of this stream"),
]


class _LogQuery(QueryModel):
    follow: Annotated[bool, expects("true or false")] = Field(
        default=False, description="Stream the log as server-sent events until the Attempt has ended."
    )


_CHECKS = [requires(Scope.RUNS_READ), Depends(require_run)]
_REST = workspace_router("/{projectName}/runs/{runId}/attempts/{number}", BadRequest, tag="Attempts", checks=_CHECKS)
_PAGES = page_router("/projects/{projectName}/runs/{runId}/attempts/{number}", *_CHECKS)
routers = (_REST, _PAGES)


@_REST.get("", operation_id="getAttempt", summary="Get an Attempt")
async def get(services: ServicesDep, projectName: str, runId: str, number: _Number) -> AttemptBody:
    """Get the Attempt's record, and the paths of its log, trace and screenshot, as far as it has left them."""
    return await get_attempt(services, projectName, runId, number)


_LOG_DOCS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One JSON object per line; with `follow`, one event per line, and the last event `end`.",
        "content": {
            "application/jsonl": {
                "example": '{"timestamp":"2026-11-24T10:00:00.512Z","level":"info","source":"user","message":"Hello"}\n'
            },
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


@_REST.get(
    "/log", operation_id="getAttemptLog", summary="Get an Attempt's log", response_class=Response, responses=_LOG_DOCS
)
async def log(
    services: ServicesDep,
    projectName: str,
    runId: str,
    number: _Number,
    query: Annotated[_LogQuery, Query()],
    last_event_id: _LastEventId = 0,
) -> Response:
    """Get the log as far as it is stored. With `follow`, the Attempt need not have started yet."""
    if query.follow:
        events = follow_log(services, projectName, runId, number, last_event_id)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    text = await read_log(services, projectName, runId, number)
    return Response(text, media_type="application/jsonl")


@_PAGES.get("/log")
async def log_as_text(
    services: ServicesDep,
    projectName: str,
    runId: str,
    number: _Number,
    query: Annotated[_LogQuery, Query()],
    last_event_id: _LastEventId = 0,
) -> Response:
    """Get the log, as a text that browsers show and do not save."""
    answer = await log(services, projectName, runId, number, query, last_event_id)
    if not query.follow:
        answer.headers["content-type"] = "text/plain; charset=utf-8"
    return answer


@_PAGES.get("/trace")
@_REST.get(
    "/trace",
    operation_id="getAttemptTrace",
    summary="Get an Attempt's trace",
    response_class=Response,
    responses={200: {"description": "A Playwright trace.", "content": {"application/zip": {}}}},
)
async def trace(services: ServicesDep, projectName: str, runId: str, number: _Number) -> Response:
    """Get the Playwright trace. Open it with `playwright show-trace FILE`."""
    return await trace_response(services, projectName, runId, number)


@_PAGES.get("/trace/view")
async def view_trace(
    request: Request, services: ServicesDep, projectName: str, runId: str, number: _Number
) -> Response:
    """Redirect to the trace in Playwright's own viewer, which has an origin of its own."""
    if not await services.store.exists(object_keys.trace(projectName, runId, number)):
        raise NotFound(f"Attempt {number} of Run {runId} has left no trace.")
    return RedirectResponse(trace_viewer_url(request, services, projectName, runId, number), 303)


@_PAGES.get("/screenshot")
@_REST.get(
    "/screenshot",
    operation_id="getAttemptScreenshot",
    summary="Get an Attempt's screenshot",
    response_class=Response,
    responses={200: {"description": "The last picture of its page.", "content": {"image/png": {}, "image/jpeg": {}}}},
)
async def screenshot(services: ServicesDep, projectName: str, runId: str, number: _Number) -> Response:
    """Get the last picture of its page: of an Attempt that completed, the last one of its trace, as a JPEG."""
    return await screenshot_response(services, projectName, runId, number)


@_REST.get("/files", operation_id="listAttemptFiles", summary="List an Attempt's files")
async def files(request: Request, services: ServicesDep, projectName: str, runId: str, number: _Number) -> LinkedFiles:
    """List the files that the Attempt has left, each with a link that needs no key and is valid for an hour."""
    return await list_files(request, services, projectName, runId, number)


@_PAGES.get("/files/{name:path}")
@_REST.get(
    "/files/{name:path}",
    operation_id="getAttemptFile",
    summary="Get an Attempt's file",
    response_class=Response,
    responses={
        200: {"description": "The file.", "content": {"application/octet-stream": {}}},
        206: {"description": "The range of the file that was asked for."},
    },
)
async def file(services: ServicesDep, projectName: str, runId: str, number: _Number, name: str) -> Response:
    """Get the bytes of a file, by its name, which may have slashes. Ranges are answered."""
    return await file_response(services, projectName, runId, number, name)


@_PAGES.get("/preview/{name:path}")
async def preview(services: ServicesDep, projectName: str, runId: str, number: _Number, name: str) -> Response:
    """Get a picture or a text among the files, for a browser to show it."""
    return await preview_response(services, projectName, runId, number, name)
