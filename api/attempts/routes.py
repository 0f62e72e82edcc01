"""Attempts and what they leave: record, log, trace, screenshot (docs/contract.md, section 13.4)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, Header, Path, Query
from fastapi.sse import EventSourceResponse
from pydantic import Field
from starlette.responses import Response

from api.attempts.bodies import get_attempt
from api.attempts.files import screenshot_response, trace_response
from api.attempts.log import follow_log, read_log
from api.dependencies import ServicesDep
from api.http.access import requires
from api.http.workspace_router import workspace_router
from api.projects.lookup import require_run
from schemas.errors import BadRequest
from schemas.rest.access import Scope
from schemas.rest.attempt import AttemptBody
from schemas.rest.base import QueryModel, expects

Number = Annotated[
    int,
    Path(ge=1, le=100_000, description="The number of the Attempt within its Run, from 1."),
    expects("the number of an Attempt, from 1"),
]
LastEventId = Annotated[
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


router = workspace_router(
    "/{projectName}/runs/{runId}/attempts/{number}",
    BadRequest,
    tag="Attempts",
    checks=[requires(Scope.RUNS_READ), Depends(require_run)],
)


@router.get("", operation_id="getAttempt", summary="Get an Attempt")
async def get(services: ServicesDep, projectName: str, runId: str, number: Number) -> AttemptBody:
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


@router.get(
    "/log", operation_id="getAttemptLog", summary="Get an Attempt's log", response_class=Response, responses=_LOG_DOCS
)
async def log(
    services: ServicesDep,
    projectName: str,
    runId: str,
    number: Number,
    query: Annotated[_LogQuery, Query()],
    last_event_id: LastEventId = 0,
) -> Response:
    """Get the log as far as it is stored. With `follow`, the Attempt need not have started yet."""
    if query.follow:
        events = follow_log(services, projectName, runId, number, last_event_id)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    text = await read_log(services, projectName, runId, number)
    return Response(text, media_type="application/jsonl")


@router.get(
    "/trace",
    operation_id="getAttemptTrace",
    summary="Get an Attempt's trace",
    response_class=Response,
    responses={200: {"description": "A Playwright trace.", "content": {"application/zip": {}}}},
)
async def trace(services: ServicesDep, projectName: str, runId: str, number: Number) -> Response:
    """Get the Playwright trace. Open it with `playwright show-trace FILE`."""
    return await trace_response(services, projectName, runId, number)


@router.get(
    "/screenshot",
    operation_id="getAttemptScreenshot",
    summary="Get an Attempt's screenshot",
    response_class=Response,
    responses={200: {"description": "The last picture of its page.", "content": {"image/png": {}}}},
)
async def screenshot(services: ServicesDep, projectName: str, runId: str, number: Number) -> Response:
    """Get the last picture of the page of an Attempt that failed."""
    return await screenshot_response(services, projectName, runId, number)
