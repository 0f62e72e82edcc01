"""Watching the browser of an Attempt (docs/contract.md, section 13.9), hands on it (section 13.10), and its worker.

Both sides call many times a second, so their calls are logged at level DEBUG.
"""

from __future__ import annotations

import asyncio
from typing import Annotated, Any, NamedTuple, cast

from fastapi import APIRouter, Depends, Path, Query, Request
from pydantic import Field
from starlette.responses import Response

from api.attempts.artifacts import require_record
from api.dashboard.auth import check_same_origin
from api.dashboard.page_route import page_router
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, audit_note, lacks_scope, requires
from api.http.errors import error_responses
from api.http.json_body import read_body, read_json_object
from api.http.middleware import log_as_frequent
from api.http.openapi import request_body
from api.live_views import LiveView
from api.lookup import require_run
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, NotFound, PayloadTooLarge, SealError, Unavailable
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.base import QueryModel, expects
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.live import INPUT_LIMIT, ControlRequest, InputRequest, LiveStateBody
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptKind, AttemptStatus
from callboard.schemas.workflow.handoff import HandoffKind
from callboard.schemas.workflow.live import LiveAction, LiveHolder, LiveOutcome
from callboard.security.apikeys import Caller
from callboard.security.live_records import GREETED, GREETING, RECORD_LIMIT, LiveRecords
from callboard.security.sign_in_sessions import Session

_BODY_LIMIT = 64 * 1024
"""Largest body of a call to take or give, in bytes."""
_GREETING_LIMIT = 1024
"""Largest greeting of a worker in bytes: anybody can send one, so it must not take much memory."""
_NO_STORE = {"cache-control": "no-store"}
_ASKED_EVERY = 2.0
"""Most seconds for which an Attempt is shown by a Handoff that has ended."""

_Number = Annotated[
    int,
    Path(ge=1, le=100_000, description="The number of the Attempt within its Run, from 1."),
    expects("the number of an Attempt, from 1"),
]


class LiveQuery(QueryModel):
    """After which picture, or state, the next one is awaited."""

    after: Annotated[int, Field(ge=0, lt=2**63), expects("the number of what came last, or 0")] = Field(
        default=0, description="The number of what was received last, and shown: something newer is awaited."
    )


class PictureQuery(LiveQuery):
    """After which picture the next one is awaited, or a change of the state."""

    state: Annotated[int, Field(ge=0, lt=2**63), expects("the number of a state, or 0")] | None = Field(
        default=None, description="The number of the last state; a newer one is awaited, too, and its number told."
    )


class Place(NamedTuple):
    """Which Attempt is watched."""

    project: str
    run_id: str
    number: int


FREQUENT = Depends(log_as_frequent)
_PLACE = "/{projectName}/runs/{runId}/attempts/{number}/live"
_WATCHING = [requires(Scope.RUNS_READ, instead=Scope.HANDOFFS), FREQUENT]
_HANDS = [requires(Scope.HANDOFFS, "live.control"), FREQUENT]
_INPUTS = [requires(Scope.HANDOFFS), FREQUENT]
_REST = workspace_router(_PLACE, BadRequest, Conflict, tag="Attempts")
_PAGES = page_router(f"/projects{_PLACE}")
_WORKERS = APIRouter(prefix="/live/{viewId}", include_in_schema=False, dependencies=[FREQUENT])
routers = (_REST, _PAGES, _WORKERS)
_NOTHING_NEW: dict[int | str, dict[str, Any]] = {204: {"description": "Nothing newer has come within five seconds."}}


@_PAGES.get("", dependencies=_WATCHING)
@_REST.get(
    "",
    dependencies=_WATCHING,
    operation_id="watchAttempt",
    summary="Watch an Attempt",
    response_class=Response,
    responses={
        200: {
            "description": "A picture of its page; the header `x-number` has its number, `x-state` that of the state.",
            "content": {"image/jpeg": {}},
        },
        **_NOTHING_NEW,
    },
)
async def watch(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    projectName: str,
    runId: str,
    number: _Number,
    query: Annotated[PictureQuery, Query()],
) -> Response:
    """Get the newest picture of the page of a running Attempt, as soon as there is one after the last."""
    place = Place(projectName, runId, number)
    await _check_watching(request, services, caller, place)
    shown = await picture(services, place, query)
    await _check_watching(request, services, caller, place)  # its Handoff may have ended while this waited
    return shown


@_PAGES.get("/state", dependencies=_WATCHING)
@_REST.get(
    "/state",
    dependencies=_WATCHING,
    operation_id="readLiveState",
    summary="Get who has an Attempt's browser, and what it asks",
    response_model=LiveStateBody,
    responses=_NOTHING_NEW,
)
async def read_state(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    projectName: str,
    runId: str,
    number: _Number,
    query: Annotated[LiveQuery, Query()],
) -> Response:
    """Get what a person has to know beside the picture, as soon as it has changed after the last time."""
    place = Place(projectName, runId, number)
    await _check_watching(request, services, caller, place)
    told = await state(services, place, _holder(request, caller), query.after)
    await _check_watching(request, services, caller, place)
    return told


@_PAGES.post("/control", dependencies=_HANDS)
@_REST.post(
    "/control",
    dependencies=_HANDS,
    status_code=204,
    operation_id="controlAttempt",
    summary="Take an Attempt's browser, or give it back",
    openapi_extra=request_body(ControlRequest),
    responses=error_responses(PayloadTooLarge),
)
async def control_attempt(
    request: Request, services: ServicesDep, caller: CallerDep, projectName: str, runId: str, number: _Number
) -> Response:
    """Take the hands on the browser, which one has at a time, for 30 seconds from the last input on; or give them."""
    return await control(request, services, Place(projectName, runId, number), _holder(request, caller))


@_PAGES.post("/input", dependencies=_INPUTS)
@_REST.post(
    "/input",
    dependencies=_INPUTS,
    status_code=204,
    operation_id="inputAttempt",
    summary="Do something to an Attempt's page",
    openapi_extra=request_body(InputRequest),
    responses=error_responses(PayloadTooLarge),
)
async def input_attempt(
    request: Request, services: ServicesDep, caller: CallerDep, projectName: str, runId: str, number: _Number
) -> Response:
    """Do up to 200 things to the page, one after the other, with the hands on the browser, whose lease begins anew."""
    return await act(request, services, Place(projectName, runId, number), _holder(request, caller))


def _holder(request: Request, caller: Caller) -> LiveHolder:
    session: Session | None = getattr(request.state, "session", None)
    return LiveHolder(id=caller.id if session is None else f"{caller.id}/{session.nonce}", name=caller.name)


async def _check_watching(request: Request, services: Services, caller: Caller, place: Place) -> None:
    """Raise Forbidden unless the caller may read Runs, or the Attempt waits for a person at its browser.

    Where a person logs in, it is not enough to read Runs: the page may show what opens the account.
    """
    if caller.has(Scope.RUNS_READ):
        if not caller.has(Scope.HANDOFFS) and (await _open(services, place)).is_login:
            audit_note(request.scope).missing_scope = Scope.HANDOFFS.value
            raise lacks_scope(Scope.HANDOFFS, "This needs the scope handoffs, as a person logs in there.")
    elif not await has_open_handoff(services, place):
        audit_note(request.scope).missing_scope = Scope.RUNS_READ.value
        raise lacks_scope(
            Scope.RUNS_READ,
            "This needs the scope runs:read, which your key does not have, as the Attempt has no open Handoff of kind"
            " browser.",
        )


async def has_open_handoff(services: Services, place: Place, handoff_id: str | None = None) -> bool:
    """Return whether an Attempt waits for a person at its browser, by this Handoff if one is named.

    There are many calls for one view, so it is known from the last two seconds.

    Raises:
        Unavailable: Temporal does not answer.
    """
    view, now = services.live_views.find(place), asyncio.get_running_loop().time()
    if view is None or view.handoffs is None or view.handoffs[0] + _ASKED_EVERY < now:
        try:
            listed = await services.runs.list_handoffs(services.settings.workspace, place.project, place.run_id)
        except NotFound:
            return False
        asking = {
            each.id
            for each in listed
            if each.is_open
            and each.kind is HandoffKind.BROWSER
            and (names.run_of_handoff(each.id), each.attempt) == (place.run_id, place.number)
        }
        if (view := services.live_views.find(place)) is not None:
            view.handoffs = (now, asking)
    else:
        asking = view.handoffs[1]
    return bool(asking) if handoff_id is None else handoff_id in asking


async def picture(services: Services, place: Place, query: PictureQuery) -> Response:
    """Answer the newest picture, or 204. Raises as `_open` does, and Unavailable if the worker cannot show it."""
    view = await _open(services, place)
    found = await view.next_picture(query.after, query.state)
    headers = {**_NO_STORE, "x-state": str(view.state_number)}
    if found is None:
        return Response(status_code=204, headers=headers)
    return Response(found.jpeg, media_type="image/jpeg", headers={**headers, "x-number": str(found.number)})


async def state(services: Services, place: Place, by: LiveHolder, after: int) -> Response:
    """Answer the newest state as this caller sees it, or 204. Raises as `picture` does."""
    found = await (await _open(services, place)).next_state(after)
    if found is None:
        return Response(status_code=204, headers=_NO_STORE)
    number, told = found
    body = LiveStateBody(
        number=number,
        holder=None if told.holder is None else told.holder.name,
        is_yours=told.holder is not None and told.holder.id == by.id,
        asks=cast("Any", told.asks),
    )
    return Response(body.model_dump_json(), media_type="application/json", headers=_NO_STORE)


async def control(request: Request, services: Services, place: Place, by: LiveHolder) -> Response:
    """Take the browser, or give it back. Raises as `_order` does."""
    action = LiveAction(validate_body(ControlRequest, await _read(request, services, place, _BODY_LIMIT)).action)
    audit_note(request.scope).action = f"live.{action}"
    return await _order(services, place, by, action)


async def act(request: Request, services: Services, place: Place, by: LiveHolder) -> Response:
    """Do something to the page. Raises as `_order` does."""
    events = validate_body(InputRequest, await _read(request, services, place, INPUT_LIMIT)).to_json()
    return await _order(services, place, by, LiveAction.INPUT, events)


async def _open(services: Services, place: Place) -> LiveView:
    """Return the live view of an Attempt. There are many calls for one, and only the first has to look it up.

    Raises:
        NotFound: There is no such Attempt.
        Conflict: It does not run.
        ConfigurationError: There is no key to seal pictures with.
        StoreError, Unavailable: The store or Temporal failed.
    """
    if (view := services.live_views.find(place)) is not None:
        return view
    worker, is_login = await _require_running(services, place)
    return services.live_views.open(place, worker, services.shutting_down, is_login=is_login)


async def _require_running(services: Services, place: Place) -> tuple[str, bool]:
    """Return the worker that executes an Attempt, and whether a person logs in there. Raises as `_open`."""
    await require_run(services, place.project, place.run_id)
    record = await require_record(services, place.project, place.run_id, place.number)
    if record.status is not AttemptStatus.STARTED or record.worker is None:
        raise Conflict(
            f"Attempt {place.number} of Run {place.run_id} does not run (any more), so there is nothing to watch."
        )
    return record.worker, record.kind is AttemptKind.RECORD


async def _read(request: Request, services: Services, place: Place, limit: int) -> dict[str, Any]:
    is_of_page = not request.url.path.startswith("/api/")
    if is_of_page:
        check_same_origin(request)
    if services.live_views.find(place) is None:
        await _require_running(services, place)  # what there is not is 404 before its body is read
    # No page of another site can send this type.
    if is_of_page and request.headers.get("content-type") != "application/json":
        raise BadRequest("The body has to be of the type application/json.")
    return await read_json_object(request, limit)


async def _order(
    services: Services,
    place: Place,
    by: LiveHolder,
    action: LiveAction,
    events: list[dict[str, Any]] | None = None,
) -> Response:
    """Have the worker do it.

    Raises:
        Forbidden: Another one has the hands on the browser, or nobody.
        Conflict: Another one has them who is named; or the Attempt does not run, or its page takes no event.
        ConfigurationError, NotFound, StoreError, TooMany, Unavailable: See `_open` and `LiveView.order`.
    """
    answer = await (await _open(services, place)).order(by, action, events)
    match answer.outcome:
        case LiveOutcome.HELD:
            details = {"holder": answer.holder}
            raise Conflict(f"{answer.holder} has taken the browser. Try again when it is given back.", details=details)
        case LiveOutcome.NOT_HELD:
            raise Forbidden("You have not taken the browser, or have done nothing for 30 seconds. Take it first.")
        case LiveOutcome.REFUSED:
            raise Conflict(f"The browser cannot be taken. {answer.reason}")
        case LiveOutcome.NOT_TAKEN:
            raise Conflict(
                "The page has not taken all of it: it is busy, shows a dialog, asks for something else by now, or was"
                " closed."
            )
        case LiveOutcome.DONE:
            return Response(status_code=204)
        case _:
            raise Unavailable(f"The browser's worker is of a later version than this api: it says {answer.outcome}.")


@_WORKERS.post("/greeting")
async def greet(request: Request, services: ServicesDep, viewId: str) -> Response:
    """Tell a worker that it has reached an api with its key, whether there is such a view or not."""
    records = LiveRecords(services.ring, viewId)
    try:
        records.open(await read_body(request, _GREETING_LIMIT), GREETING)
    except SealError as error:
        raise Forbidden(error.message) from error
    return Response(records.seal(b"", GREETED, 1), media_type="application/octet-stream")


@_WORKERS.post("/states")
async def take_state(request: Request, services: ServicesDep, viewId: str) -> Response:
    """Take from a worker who has the browser, and what it asks."""
    view = services.live_views.of_worker(viewId)
    try:
        await view.take_state(await read_body(request, RECORD_LIMIT))
    except SealError as error:
        raise Forbidden(error.message) from error
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
