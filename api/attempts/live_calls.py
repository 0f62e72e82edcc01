"""Watching the browser of an Attempt (docs/contract.md, section 13.9), and what its worker calls meanwhile.

Both sides call many times a second, so their calls are logged at level DEBUG.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.attempts.artifacts import require_record
from api.dashboard.page_route import page_router
from api.dependencies import ServicesDep
from api.http.access import requires
from api.http.errors import error_responses
from api.http.json_body import read_body
from api.http.middleware import log_as_frequent
from api.live_views import LiveView
from api.lookup import require_run
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, SealError
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.base import QueryModel, expects
from callboard.schemas.workflow.attempt import AttemptStatus
from callboard.security.live_records import RECORD_LIMIT

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
routers = (_REST, _PAGES, _WORKERS)


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
async def next_orders(request: Request, services: ServicesDep, viewId: str) -> Response:
    """Tell a worker what to do for a view, once there is something."""
    view = services.live_views.of_worker(viewId)
    try:
        body = await view.next_orders(await read_body(request, RECORD_LIMIT))
    except SealError as error:
        raise Forbidden(error.message) from error
    return Response(body, media_type="application/octet-stream")
