"""The calls that list, read and rerun Runs, which are Callboard's own (docs/contract.md, section 13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Security
from starlette.responses import Response

from api.dependencies import ServicesDep
from api.guards import in_workspace, key_header, require_open_project, require_project
from api.http.errors import documented
from api.http.openapi import IDEMPOTENCY_DOCS
from api.runs import records
from api.runs import rerun as reruns
from api.runs.ids import IDEMPOTENCY_HEADER, check_idempotency_key
from schemas.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    InternalServerError,
    NotFound,
    TooMany,
    Unauthorized,
    Unavailable,
)
from schemas.rest.runs import RerunResponse, RunBody, RunList, RunsQuery

router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects/{projectName}/runs",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["Records of Runs"],
)


@router.get("", summary="List Runs", responses=documented(BadRequest))
async def list_runs(
    parts: ServicesDep,
    projectName: str,  # noqa: N803 - the contract's name
    query: Annotated[RunsQuery, Query()],
) -> RunList:
    """List the unfinished first, then the others by their end, newest first. A start shows within two seconds."""
    manifest = await require_project(parts, projectName)
    return await records.run_list(parts, manifest.project, query)


@router.get("/{runId}", summary="Get a Run", response_model=RunBody)
async def get(parts: ServicesDep, projectName: str, runId: str) -> Response:  # noqa: N803
    """All that is known of it: inputs, result or error, Attempts, Validates, Deliveries, and what it waits for."""
    return Response(await records.run_body(parts, projectName, runId), media_type="application/json")


@router.post(
    "/{runId}/rerun",
    status_code=201,
    summary="Start a Run again",
    openapi_extra=IDEMPOTENCY_DOCS,
    responses=documented(BadRequest, Forbidden, Conflict),
)
async def rerun(request: Request, parts: ServicesDep, projectName: str, runId: str) -> RerunResponse:  # noqa: N803
    """Start a new Run with the same inputs, secrets included, of the version that is deployed now."""
    manifest = await require_open_project(parts, projectName)
    key = check_idempotency_key(request.headers.getlist(IDEMPOTENCY_HEADER))
    return await reruns.rerun(parts, manifest, runId, key)
