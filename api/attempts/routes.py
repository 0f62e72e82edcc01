"""Attempts and what they leave: record, log, trace, screenshot (docs/contract.md, section 13.4)."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Path, Query, Security
from fastapi.sse import EventSourceResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.attempts.files import screenshot_of, trace_of
from api.attempts.log import followed_log, stored_log
from api.attempts.records import attempt_of
from api.dependencies import ServicesDep
from api.guards import in_workspace, key_header
from api.http.errors import documented
from schemas.errors import BadRequest, InternalServerError, NotFound, TooMany, Unauthorized, Unavailable
from schemas.rest.attempt import AttemptBody
from schemas.rest.base import expects

_Number = Annotated[
    int,
    Path(ge=1, le=100_000, description="From 1; every try of a Run takes one."),
    expects("the number of an Attempt, from 1"),
]
_LastEventId = Annotated[
    int,
    Header(alias="Last-Event-ID", ge=0, description="Of the last line that was received: go on behind it."),
    expects("the id of an event of this stream"),
]


class _LogQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    follow: Annotated[bool, expects("true or false")] = Field(
        default=False, description="Stream it as server-sent events until the Attempt has ended."
    )


router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects/{projectName}/runs/{runId}/attempts/{number}",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(BadRequest, Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["Attempts"],
)


@router.get("", summary="Get an Attempt")
async def get(parts: ServicesDep, projectName: str, runId: str, number: _Number) -> AttemptBody:  # noqa: N803
    """Its record; and where its log, its trace and its screenshot are, if it has left them."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    return await attempt_of(parts, projectName, runId, number)


_LOG_DOCS: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "A JSON object a line; with `follow`, an event for each, its number as id, and `end` at last.",
        "content": {
            "application/jsonl": {
                "example": '{"timestamp":"2026-11-24T10:00:00.512Z","level":"info","source":"user","message":"Hello"}\n'
            },
            "text/event-stream": {"schema": {"type": "string"}},
        },
    }
}


@router.get("/log", summary="Get an Attempt's log", response_class=Response, responses=_LOG_DOCS)
async def log(
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    runId: str,  # noqa: N803
    number: _Number,
    query: Annotated[_LogQuery, Query()],
    last_event_id: _LastEventId = 0,
) -> Response:
    """As far as it is stored. With `follow`, also of an Attempt that has not begun yet."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    if query.follow:
        events = followed_log(parts, projectName, runId, number, last_event_id)
        return EventSourceResponse(events, headers={"x-accel-buffering": "no"})
    text = await stored_log(parts, projectName, runId, number)
    return Response(text, media_type="application/jsonl")


@router.get(
    "/trace",
    summary="Get an Attempt's trace",
    response_class=Response,
    responses={200: {"description": "A Playwright trace.", "content": {"application/zip": {}}}},
)
async def trace(parts: ServicesDep, projectName: str, runId: str, number: _Number) -> Response:  # noqa: N803
    """Open it with Playwright's trace viewer: `playwright show-trace FILE`."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    return await trace_of(parts, projectName, runId, number)


@router.get(
    "/screenshot",
    summary="Get an Attempt's screenshot",
    response_class=Response,
    responses={200: {"description": "The last picture of its page.", "content": {"image/png": {}, "image/jpeg": {}}}},
)
async def screenshot(parts: ServicesDep, projectName: str, runId: str, number: _Number) -> Response:  # noqa: N803
    """Of an Attempt that failed."""
    await parts.runs.state(parts.settings.workspace, projectName, runId)
    return await screenshot_of(parts, projectName, runId, number)
