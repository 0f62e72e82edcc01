"""Start, result and cancel of Runs (docs/contract.md, section 6; `cancel` and `wait` are Callboard's own)."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Security
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import Response

from api.dependencies import ServicesDep
from api.guards import in_workspace, key_header, require_open_project
from api.http.errors import documented
from api.http.json_body import read_object
from api.http.long_poll import state_within
from api.http.openapi import IDEMPOTENCY_DOCS, body_of
from api.runs.ids import IDEMPOTENCY_HEADER, check_idempotency_key
from api.runs.result import result_body
from api.runs.start import start_run
from schemas.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InternalServerError,
    NotFound,
    PayloadTooLarge,
    TooMany,
    Unauthorized,
    Unavailable,
)
from schemas.rest.base import expects
from schemas.rest.result import ResultResponse
from schemas.rest.start import StartRequest, StartResponse

_Wait = Annotated[float, Field(ge=0, le=60, allow_inf_nan=False), expects("a number of seconds from 0 to 60")]


class _WaitQuery(BaseModel):
    model_config = ConfigDict(extra="forbid", hide_input_in_errors=True)

    wait: _Wait = Field(default=0, description="Seconds to wait for the Run's end before answering.")


class _CancelQuery(_WaitQuery):
    wait: _Wait = Field(default=5, description="Seconds to wait for the Run's end before answering.")


router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects/{projectName}/run",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["Runs"],
)


@router.post(
    "/start",
    status_code=201,
    summary="Start a Run",
    openapi_extra={**body_of(StartRequest), **IDEMPOTENCY_DOCS},
    responses=documented(BadRequest, Forbidden, Conflict, PayloadTooLarge),
)
async def start(request: Request, parts: ServicesDep, projectName: str) -> StartResponse:  # noqa: N803
    """Accept a Run. From the answer on it is never lost; it is `pending` until a Machine is free."""
    manifest = await require_open_project(parts, projectName)
    key = check_idempotency_key(request.headers.getlist(IDEMPOTENCY_HEADER))
    return await start_run(parts, manifest, await read_object(request), key)


@router.get(
    "/{runId}/result", summary="Get a Run's result", response_model=ResultResponse, responses=documented(BadRequest)
)
async def result(
    request: Request,
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    runId: str,  # noqa: N803
    query: Annotated[_WaitQuery, Query()],
) -> Response:
    """How the Run stands; with `wait`, as soon as it has ended."""
    state = await state_within(parts, request, projectName, runId, timedelta(seconds=query.wait))
    return Response(await result_body(state, parts.store), media_type="application/json")


@router.post("/{runId}/cancel", summary="Cancel a Run", response_model=ResultResponse, responses=documented(BadRequest))
async def cancel(
    request: Request,
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    runId: str,  # noqa: N803
    query: Annotated[_CancelQuery, Query()],
) -> Response:
    """End the Run. It is `canceled` once its browser is gone; a Run that has ended is answered as it is."""
    # Cancellation is requested first, by itself, so that a client that leaves while it waits still cancels the Run.
    state = await parts.runs.cancel(parts.settings.workspace, projectName, runId, wait=timedelta())
    if state.outcome is None and query.wait > 0:
        state = await state_within(parts, request, projectName, runId, timedelta(seconds=query.wait))
    return Response(await result_body(state, parts.store), media_type="application/json")
