"""Watching the browser of an Attempt (docs/contract.md, section 13.9), hands on it (section 13.10), and its worker.

Both sides call many times a second, so their calls are logged at level DEBUG.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.attempts.artifacts import require_record
from api.dashboard.auth import check_same_origin
from api.dashboard.page_route import page_router
from api.dependencies import ServicesDep
from api.http.access import CallerDep, audit_note, requires
from api.http.errors import error_responses
from api.http.json_body import read_body, read_json_object
from api.http.middleware import log_as_frequent
from api.http.openapi import request_body
from api.live_views import LiveAction, LiveView
from api.lookup import require_run
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, PayloadTooLarge, SealError
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.base import QueryModel, expects
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.live import ControlRequest, InputRequest
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.schemas.workflow.live import LiveHolder, LiveOutcome
from callboard.security.apikeys import Caller
from callboard.security.live_records import RECORD_LIMIT
from callboard.security.sign_in_sessions import Session

_BODY_LIMIT = 64 * 1024
"""Largest body of a person's call, in bytes."""

_Number = Annotated[
    int,
    Path(ge=1, le=100_000, description="The number of the Attempt within its Run, from 1."),
    expects("the number of an Attempt, from 1"),
]


class _LiveQuery(QueryModel):
    after: Annotated[int, Field(ge=0, lt=2**63), expects("the number of a picture, or 0")] = Field(
        default=0, description="The number of the last picture that was received and shown: a newer one is awaited."
    )


_FREQUENT = Depends(log_as_frequent)
_PLACE = "/{projectName}/runs/{runId}/attempts/{number}/live"
_REST = workspace_router(_PLACE, BadRequest, tag="Attempts", checks=[requires(Scope.RUNS_READ), _FREQUENT])
_PAGES = page_router(f"/projects{_PLACE}", requires(Scope.RUNS_READ), _FREQUENT)
_WORKERS = APIRouter(prefix="/live/{viewId}", include_in_schema=False, dependencies=[_FREQUENT])
_HANDS = [requires(Scope.HANDOFFS, "live.control"), _FREQUENT]
_INPUTS = [requires(Scope.HANDOFFS), _FREQUENT]
_HANDS_REST = workspace_router(_PLACE, BadRequest, Conflict, PayloadTooLarge, tag="Attempts")
_HANDS_PAGES = page_router(f"/projects{_PLACE}")
routers = (_REST, _PAGES, _HANDS_REST, _HANDS_PAGES, _WORKERS)


@_PAGES.get("")
@_REST.get(
    "",
    operation_id="watchAttempt",
    summary="Watch an Attempt",
    response_class=Response,
    responses={
        200: {
            "description": "A picture of its page; the header `x-number` has its number.",
            "content": {"image/jpeg": {}},
        },
        204: {"description": "No newer one has come within five seconds."},
        **error_responses(Conflict),
    },
)
async def watch(
    services: ServicesDep, projectName: str, runId: str, number: _Number, query: Annotated[_LiveQuery, Query()]
) -> Response:
    """Get the newest picture of the page of a running Attempt, as soon as there is one after the last."""
    view = await _open(services, projectName, runId, number)
    picture = await view.next_picture(query.after)
    headers = {"cache-control": "no-store"}
    if picture is None:
        return Response(status_code=204, headers=headers)
    return Response(picture.jpeg, media_type="image/jpeg", headers={**headers, "x-number": str(picture.number)})


async def _open(services: ServicesDep, project: str, run_id: str, number: int) -> LiveView:
    """Return the live view of an Attempt. There are many calls for one, and only the first has to look it up.

    Raises:
        NotFound: There is no such Attempt.
        Conflict: It does not run.
        StoreError, Unavailable: The store or Temporal failed.
    """
    if (view := services.live_views.find(project, run_id, number)) is not None:
        return view
    await require_run(services, project, run_id)
    record = await require_record(services, project, run_id, number)
    if record.status is not AttemptStatus.STARTED or record.worker is None:
        raise Conflict(f"Attempt {number} of Run {run_id} does not run (any more), so there is nothing to watch.")
    return services.live_views.open(project, run_id, number, record.worker, services.shutting_down)


@_HANDS_PAGES.post("/control", dependencies=_HANDS)
@_HANDS_REST.post(
    "/control",
    dependencies=_HANDS,
    status_code=204,
    operation_id="controlAttempt",
    summary="Take an Attempt's browser, or give it back",
    openapi_extra=request_body(ControlRequest),
)
async def control(
    request: Request, services: ServicesDep, caller: CallerDep, projectName: str, runId: str, number: _Number
) -> Response:
    """Take the hands on the browser, which one has at a time, for 30 seconds from the last input on; or give them."""
    action = validate_body(ControlRequest, await _read(request)).action
    audit_note(request.scope).action = f"live.{action}"
    return await _order(request, services, caller, (projectName, runId, number), action)


@_HANDS_PAGES.post("/input", dependencies=_INPUTS)
@_HANDS_REST.post(
    "/input",
    dependencies=_INPUTS,
    status_code=204,
    operation_id="inputAttempt",
    summary="Do something to an Attempt's page",
    openapi_extra=request_body(InputRequest),
)
async def input_events(
    request: Request, services: ServicesDep, caller: CallerDep, projectName: str, runId: str, number: _Number
) -> Response:
    """Do up to 200 things to the page, one after the other, with the hands on the browser, whose lease begins anew."""
    events = validate_body(InputRequest, await _read(request)).to_json()
    return await _order(request, services, caller, (projectName, runId, number), "input", events)


async def _read(request: Request) -> dict[str, Any]:
    if hasattr(request.state, "session"):  # a page of ours has sent it, and no other one can send JSON of this type
        check_same_origin(request)
        if request.headers.get("content-type") != "application/json":
            raise BadRequest("The body has to be of the type application/json.")
    return await read_json_object(request, _BODY_LIMIT)


async def _order(
    request: Request,
    services: ServicesDep,
    caller: Caller,
    place: tuple[str, str, int],
    action: LiveAction,
    events: list[dict[str, Any]] | None = None,
) -> Response:
    """Have the worker do it.

    Raises:
        Forbidden: Another one has the hands on the browser, or nobody.
        Conflict: Another one has them who is named; or the Attempt does not run, or its page takes no event.
        NotFound, StoreError, TooMany, Unavailable: See `_open` and `LiveView.order`.
    """
    session: Session | None = getattr(request.state, "session", None)
    by = LiveHolder(id=caller.id if session is None else f"{caller.id}/{session.nonce}", name=caller.name)
    view = await _open(services, *place)
    answer = await view.order(by, action, events)
    match answer.outcome:
        case LiveOutcome.HELD:
            details = {"holder": answer.holder}
            raise Conflict(f"{answer.holder} has taken the browser. Try again when it is given back.", details=details)
        case LiveOutcome.NOT_HELD:
            raise Forbidden("You have not taken the browser, or have done nothing for 30 seconds. Take it first.")
        case LiveOutcome.NOT_TAKEN:
            raise Conflict("The page has not taken all of it: it is busy, shows a dialog, or was closed.")
        case LiveOutcome.DONE:
            return Response(status_code=204)


@_WORKERS.post("/pictures")
async def take_picture(request: Request, services: ServicesDep, viewId: str) -> Response:
    """Take a picture from a worker, which waits for the answer before it sends the next one."""
    view = services.live_views.of_worker(viewId)
    try:
        await view.take_picture(await read_body(request, RECORD_LIMIT))
    except SealError as error:
        raise Forbidden(error.message) from error
    return Response(status_code=204)


@_WORKERS.post("/orders")
async def next_order(request: Request, services: ServicesDep, viewId: str) -> Response:
    """Tell a worker what to do next for a view, once there is something."""
    view = services.live_views.of_worker(viewId)
    try:
        body = await view.next_order(await read_body(request, RECORD_LIMIT))
    except SealError as error:
        raise Forbidden(error.message) from error
    return Response(body, media_type="application/octet-stream")
