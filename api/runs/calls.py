"""Runs: the calls of the contract (docs/contract.md, section 6) and of Callboard's own, and their pages."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any

from fastapi import Query, Request
from pydantic import Field
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse, Response, StreamingResponse

from api.attempts.files import files_of_run, is_previewed
from api.attempts.trace_viewer import has_trace_viewer
from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import query_string, redirect, render_page, wants_json
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import OpenProjectDep, ProjectDep
from api.rows import ROWS_ANSWER, Row, TableView, find_rows, rows_response, view_table
from api.runs import records
from api.runs.filters import read_filters
from api.runs.idempotency import IDEMPOTENCY_DOCS, read_idempotency_key
from api.runs.result import result_json
from api.runs.start import start_run
from api.runs.timeline import Span, layout_bars, run_spans
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, NotATable, NotFound, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.base import QueryModel, expects
from callboard.schemas.rest.handoffs import HandoffBody
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.rows import RowsQuery
from callboard.schemas.rest.run_result import ResultResponse
from callboard.schemas.rest.runs import RerunResponse, RunBody, RunList, RunsQuery
from callboard.schemas.rest.start_request import StartRequest, StartResponse
from callboard.schemas.workflow import names
from callboard.schemas.workflow.actor import Actor
from callboard.schemas.workflow.handoff import Handoff
from callboard.schemas.workflow.run import ErrorCode, RunStatus, RunType
from callboard.starts.identity import new_run_id, resolve_identity
from callboard.starts.rerun import start_rerun
from callboard.storage.raw_json import load_json
from callboard.temporal.runs import RunState

_Wait = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False), expects("a number of seconds from 0 to 60")]


class _WaitQuery(QueryModel):
    wait: _Wait = Field(default=0, description="Seconds to wait for the Run's end before answering.")


class _CancelQuery(_WaitQuery):
    wait: _Wait = Field(default=5, description="Seconds to wait for the Run's end before answering.")


_RUN = workspace_router("/{projectName}/run", tag="Runs")
"""Router of the contract's calls, and of `cancel`."""
_RUNS = workspace_router("/{projectName}/runs", tag="Records of Runs")
"""Router of Callboard's own calls."""
_PAGES = page_router("/projects/{projectName}/runs")
routers = (_RUN, _RUNS, _PAGES)

_READING = [requires(Scope.RUNS_READ)]
_CANCELING = [requires(Scope.RUNS_CANCEL, "run.cancel")]
_RERUNNING = [requires(Scope.RUNS_START, "run.rerun")]


@_RUN.post(
    "/start",
    dependencies=[requires(Scope.RUNS_START, "run.start")],
    status_code=201,
    operation_id="startRun",
    summary="Start a Run",
    openapi_extra={**request_body(StartRequest), **IDEMPOTENCY_DOCS},
    responses=error_responses(BadRequest, Forbidden, Conflict, PayloadTooLarge),
)
async def start(request: Request, services: ServicesDep, caller: CallerDep, manifest: OpenProjectDep) -> StartResponse:
    """Accept a Run. An accepted Run is never lost; it is `pending` until a Machine is free."""
    key = read_idempotency_key(request)
    return await start_run(services, manifest, await read_json_object(request), key, caller.actor)


@_RUN.get(
    "/{runId}/result",
    dependencies=_READING,
    operation_id="getRunResult",
    summary="Get a Run's result",
    response_model=ResultResponse,
    responses=error_responses(BadRequest),
)
async def result(
    request: Request, services: ServicesDep, projectName: str, runId: str, query: Annotated[_WaitQuery, Query()]
) -> Response:
    """Get the Run's status and, once it has ended, its result or error. With `wait`, answer as soon as it ends."""
    state = await _poll_state(services, request, projectName, runId, timedelta(seconds=query.wait))
    return await _result_response(request, services, projectName, state)


@_PAGES.get("/{runId}/rows", dependencies=_READING)
@_RUNS.get(
    "/{runId}/rows",
    dependencies=_READING,
    operation_id="getRunRows",
    summary="Get a Run's result as a table",
    response_class=StreamingResponse,
    responses={**ROWS_ANSWER, **error_responses(BadRequest, NotATable)},
)
async def rows(services: ServicesDep, projectName: str, runId: str, query: Annotated[RowsQuery, Query()]) -> Response:
    """Get the rows of a result that is a list of objects, or an object with exactly one such list."""
    state = await services.runs.get_state(services.settings.workspace, projectName, runId)
    if state.outcome is None or state.outcome.result is None:
        raise NotATable(f"Run {runId} has no rows: it has not completed.")
    returned = await load_json(state.outcome.result, "result", runId, services.store)
    found = find_rows(await asyncio.to_thread(json.loads, returned.text))

    async def tables() -> AsyncIterator[list[dict[str, Any]] | None]:
        yield found

    return await rows_response(query, tables, runId)


@_PAGES.get("/{runId}/result", dependencies=_READING)
async def result_file(services: ServicesDep, projectName: str, runId: str) -> Response:
    """Serve what the API returned, byte for byte, as a file."""
    state = await services.runs.get_state(services.settings.workspace, projectName, runId)
    if state.outcome is None or state.outcome.result is None:
        raise NotFound(f"Run {runId} has no result.")
    returned = await load_json(state.outcome.result, "result", runId, services.store)
    headers = {"content-disposition": f'attachment; filename="result_{runId}.json"'}
    return Response(returned.text, media_type="application/json", headers=headers)


@_RUN.post(
    "/{runId}/cancel",
    dependencies=_CANCELING,
    operation_id="cancelRun",
    summary="Cancel a Run",
    response_model=ResultResponse,
    responses=error_responses(BadRequest),
)
async def cancel(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    projectName: str,
    runId: str,
    query: Annotated[_CancelQuery, Query()],
) -> Response:
    """Cancel the Run. It becomes `canceled` once nothing of it runs. A Run that has ended keeps its status.

    Without the scope `runs:read`, the answer has `runId` and `status` alone.
    """
    # Cancellation is requested first, by itself, so that a client that leaves while it waits still cancels the Run.
    state = await services.runs.cancel(services.settings.workspace, projectName, runId, by=caller.actor)
    if state.outcome is None and query.wait > 0:
        state = await _poll_state(services, request, projectName, runId, timedelta(seconds=query.wait))
    if not caller.has(Scope.RUNS_READ):
        return JSONResponse({"runId": runId, "status": state.status.value})
    return await _result_response(request, services, projectName, state)


async def _result_response(request: Request, services: Services, project: str, state: RunState) -> Response:
    files = await files_of_run(request, services, project, state.run_id, state.outcome)
    return Response((await result_json(state, services.store, files)).text, media_type="application/json")


@_PAGES.post("/{runId}/cancel", dependencies=_CANCELING)
async def cancel_by_form(
    services: ServicesDep, caller: CallerDep, _: FormDep, projectName: str, runId: str
) -> Response:
    """Request the cancellation of the Run; its page then shows when it has ended."""
    await services.runs.cancel(services.settings.workspace, projectName, runId, by=caller.actor)
    return redirect(_address(projectName, runId))


@_RUNS.get(
    "",
    dependencies=_READING,
    operation_id="listRuns",
    summary="List Runs",
    responses=error_responses(BadRequest),
)
async def list_runs(services: ServicesDep, manifest: ProjectDep, query: Annotated[RunsQuery, Query()]) -> RunList:
    """List the unfinished Runs first, then the others by their end, newest first.

    A Run appears here within two seconds of its start.
    """
    return await records.list_runs(services, manifest.project, query)


_AGES = {"1h": timedelta(hours=1), "24h": timedelta(days=1), "7d": timedelta(days=7)}
"""Choices of the form for how long ago a Run was created at most."""


@_PAGES.get("", dependencies=_READING)
@_PAGES.get(".json", dependencies=_READING)
async def list_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """Show a page of Runs; the filters are in the query. Empty ones, as forms send them, are ignored."""
    params = request.query_params
    filters = read_filters(params)
    if age := params.get("within"):
        if age not in _AGES:
            raise BadRequest(f"within: expected one of {', '.join(_AGES)}.")
        since = (datetime.now(UTC) - _AGES[age]).isoformat(timespec="seconds").replace("+00:00", "Z")
        return redirect(f"{request.url.path}{query_string(filters, startedAfter=since)}")
    query = {**filters, "cursor": params.get("cursor"), "limit": params.get("limit")}
    page = await list_runs(
        services, manifest, validate_body(RunsQuery, {name: value for name, value in query.items() if value})
    )
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
        error_codes=[each.value for each in ErrorCode],
        within=list(_AGES),
        cursor=params.get("cursor"),
        request_id=new_run_id(),
    )


# The paths of pages are matched in their order here: this one comes before `/{runId}`, which it would fit, too.
@_PAGES.get("/{runId}.json", dependencies=_READING)
@_RUNS.get(
    "/{runId}",
    dependencies=_READING,
    operation_id="getRun",
    summary="Get a Run",
    response_model=RunBody,
)
async def get(services: ServicesDep, projectName: str, runId: str) -> Response:
    """Get all that is known of the Run: input, result or error, Attempts, Validates, Deliveries, and its queue."""
    details = await services.run_queries.get_details(services.settings.workspace, projectName, runId)
    run = await records.run_json(services, details, await records.list_validates(services, details))
    return Response(run.text, media_type="application/json")


@_PAGES.get("/{runId}", dependencies=_READING)
async def run_page(request: Request, services: ServicesDep, projectName: str, runId: str) -> Response:
    """Show the page of a Run."""
    if wants_json(request):
        return await get(services, projectName, runId)
    details = await services.run_queries.get_details(services.settings.workspace, projectName, runId)
    validates = await records.list_validates(services, details)
    run: dict[str, Any] = json.loads((await records.run_json(services, details, validates)).text)
    spans = [
        Span(f"Validate {number}", each.run.status.value, each.run.started_at or each.run.created_at, each.run.ended_at)
        for number, each in enumerate(validates, 1)
    ]
    asked: list[Handoff] = []
    if run["handoff"] is not None:
        asked = await services.runs.list_handoffs(services.settings.workspace, projectName, runId)
    manifest = await services.catalog.get_current(projectName)
    found = find_rows(run.get("result"))
    return render_page(
        request,
        "run.html",
        {"run": run},
        project=projectName,
        handoffs=[HandoffBody.of(each).model_dump(mode="json", by_alias=True) for each in asked if each.is_open],
        logs_in=manifest is not None and manifest.settings.auth_sessions.enabled,
        base=_address(projectName, runId),
        table=None if found is None else await asyncio.to_thread(_view_rows, found, request.query_params),
        bars=layout_bars(run_spans(run, spans), datetime.now(UTC)),
        has_trace_viewer=has_trace_viewer(services.settings),
        is_previewed=is_previewed,
        unfinished=run["status"] in ("pending", "started"),
        delivering=_is_delivering(run, datetime.now(UTC)),
    )


@_RUNS.post(
    "/{runId}/rerun",
    dependencies=_RERUNNING,
    status_code=201,
    operation_id="rerunRun",
    summary="Start a Run again",
    openapi_extra=IDEMPOTENCY_DOCS,
    responses=error_responses(BadRequest, Forbidden, Conflict),
)
async def rerun(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: OpenProjectDep, runId: str
) -> RerunResponse:
    """Start a new Run of the deployed version with the same inputs, secrets included."""
    return await _start_rerun(services, manifest, runId, read_idempotency_key(request), caller.actor)


@_PAGES.post("/{runId}/rerun", dependencies=_RERUNNING)
async def rerun_by_form(
    services: ServicesDep, caller: CallerDep, _: FormDep, manifest: OpenProjectDep, runId: str
) -> Response:
    """Start a new Run with the same inputs, and show it."""
    started = await _start_rerun(services, manifest, runId, None, caller.actor)
    return redirect(_address(manifest.project, started.run_id))


async def _start_rerun(
    services: Services, manifest: Manifest, run_id: str, idempotency_key: str | None, by: Actor
) -> RerunResponse:
    """Start a Run with the inputs of `run_id`, or find the one that the Idempotency-Key stands for.

    Raises as `start_rerun` does.
    """
    # The id of the earlier Run is all that this request has, so it is what the fingerprint is made from.
    identity = await resolve_identity(services, manifest.project, f"again: {run_id}".encode(), idempotency_key)
    await start_rerun(services, manifest, run_id, identity, by)
    return RerunResponse(run_id=identity.run_id, rerun_of=run_id)


def _view_rows(found: Sequence[Row], params: Mapping[str, str]) -> TableView:
    """Return the rows that the page of a Run shows, as its query says."""
    sort = params.get("sort", "")
    return view_table(
        found,
        search=params.get("search", "").strip(),
        sort=int(sort) if re.fullmatch("[0-9]{1,6}", sort) else 0,
        descending=params.get("order") == "descending",
    )


async def _poll_state(services: Services, request: Request, project: str, run_id: str, wait: timedelta) -> RunState:
    """Return the Run's state when it ends, after `wait`, or when the process shuts down, whatever comes first.

    A wait lasts no longer than its client waits, and no task outlives the call.

    Raises:
        NotFound: There is no such Run.
        Unavailable: Temporal does not answer.
        ClientDisconnect: The client has left, so there is nobody to answer.
    """
    workspace = services.settings.workspace
    if wait <= timedelta():
        return await services.runs.get_state(workspace, project, run_id)
    state = asyncio.create_task(services.runs.get_state(workspace, project, run_id, wait=wait))
    disconnect = asyncio.create_task(_wait_for_disconnect(request))
    shutdown = asyncio.create_task(services.shutting_down.wait())
    try:
        await asyncio.wait((state, disconnect, shutdown), return_when=asyncio.FIRST_COMPLETED)
        if state.done():
            return state.result()
        if disconnect.done():
            raise ClientDisconnect
    finally:
        for task in (state, disconnect, shutdown):
            task.cancel()
        await asyncio.gather(state, disconnect, shutdown, return_exceptions=True)
    return await services.runs.get_state(workspace, project, run_id)


async def _wait_for_disconnect(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass  # this message is a part of the request's body, which nobody needs


def _is_delivering(run: Mapping[str, Any], now: datetime) -> bool:
    """Tell whether a Delivery of a Run is under way, or is about to begin, as that of its result does at its end."""
    if any(each["status"] == "pending" for each in run["deliveries"]):
        return True
    ended: str | None = run["endedAt"]
    has_begun = any(each["id"] == names.SINK_DELIVERY for each in run["deliveries"])
    if ended is None or has_begun or "sink" not in run["input"]:
        return False
    return now - datetime.fromisoformat(ended) < timedelta(minutes=1)


def _address(project: str, run_id: str | None = None) -> str:
    return f"/projects/{project}/runs" if run_id is None else f"/projects/{project}/runs/{run_id}"
