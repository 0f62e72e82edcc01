"""The calls about Runs: those of the contract (docs/contract.md, section 6), and those of Callboard's own."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import Query, Request
from pydantic import Field
from starlette.responses import JSONResponse, Response

from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.http.workspace_router import workspace_router
from api.projects.lookup import OpenProjectDep, ProjectDep
from api.runs import bodies
from api.runs.idempotency import IDEMPOTENCY_DOCS, read_idempotency_key
from api.runs.rerun import start_rerun
from api.runs.result import poll_run_state, result_json
from api.runs.start import start_run
from schemas.errors import BadRequest, Conflict, Forbidden, PayloadTooLarge
from schemas.rest.access import Scope
from schemas.rest.base import QueryModel, expects
from schemas.rest.run_result import ResultResponse
from schemas.rest.runs import RerunResponse, RunBody, RunList, RunsQuery
from schemas.rest.start_request import StartRequest, StartResponse

_Wait = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False), expects("a number of seconds from 0 to 60")]


class _WaitQuery(QueryModel):
    wait: _Wait = Field(default=0, description="Seconds to wait for the Run's end before answering.")


class _CancelQuery(_WaitQuery):
    wait: _Wait = Field(default=5, description="Seconds to wait for the Run's end before answering.")


_RUN = workspace_router("/{projectName}/run", tag="Runs")
"""Router of the contract's calls, and of `cancel`."""
_RUNS = workspace_router("/{projectName}/runs", tag="Records of Runs")
"""Router of Callboard's own calls."""


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
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="getRunResult",
    summary="Get a Run's result",
    response_model=ResultResponse,
    responses=error_responses(BadRequest),
)
async def result(
    request: Request, services: ServicesDep, projectName: str, runId: str, query: Annotated[_WaitQuery, Query()]
) -> Response:
    """Get the Run's status and, once it has ended, its result or error. With `wait`, answer as soon as it ends."""
    state = await poll_run_state(services, request, projectName, runId, timedelta(seconds=query.wait))
    return Response((await result_json(state, services.store)).text, media_type="application/json")


@_RUN.post(
    "/{runId}/cancel",
    dependencies=[requires(Scope.RUNS_CANCEL, "run.cancel")],
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
        state = await poll_run_state(services, request, projectName, runId, timedelta(seconds=query.wait))
    if not caller.has(Scope.RUNS_READ):
        return JSONResponse({"runId": runId, "status": state.status.value})
    return Response((await result_json(state, services.store)).text, media_type="application/json")


@_RUNS.get(
    "",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="listRuns",
    summary="List Runs",
    responses=error_responses(BadRequest),
)
async def list_runs(services: ServicesDep, manifest: ProjectDep, query: Annotated[RunsQuery, Query()]) -> RunList:
    """List the unfinished Runs first, then the others by their end, newest first.

    A Run appears here within two seconds of its start.
    """
    return await bodies.list_runs(services, manifest.project, query)


@_RUNS.get(
    "/{runId}",
    dependencies=[requires(Scope.RUNS_READ)],
    operation_id="getRun",
    summary="Get a Run",
    response_model=RunBody,
)
async def get(services: ServicesDep, projectName: str, runId: str) -> Response:
    """Get all that is known of the Run: input, result or error, Attempts, Validates, Deliveries, and its queue."""
    run = await bodies.run_json(services, projectName, runId)
    return Response(run.text, media_type="application/json")


@_RUNS.post(
    "/{runId}/rerun",
    dependencies=[requires(Scope.RUNS_START, "run.rerun")],
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
    return await start_rerun(services, manifest, runId, read_idempotency_key(request), caller.actor)


routers = (_RUN, _RUNS)
