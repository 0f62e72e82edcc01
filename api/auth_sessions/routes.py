"""The calls about AuthSessions (docs/contract.md, section 7; `import` is Callboard's own)."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request, Security
from starlette.responses import JSONResponse, Response

from api.auth_sessions import operations
from api.auth_sessions.operation_result import operation_body
from api.contract_values import closed_auth_session
from api.dependencies import Services, ServicesDep
from api.guards import auth_session, in_workspace, key_header, require_auth_project, require_project
from api.http.errors import documented
from api.http.json_body import read_object
from api.http.openapi import body_of
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
from schemas.rest.auth_sessions import (
    AuthSessionBody,
    CreateAuthSession,
    ImportAuthSession,
    LoginStarted,
    OperationResult,
    UpdateAuthSession,
    ValidateAuthSession,
    ValidateStarted,
)
from schemas.workflow.run import RunType

IMPORT_LIMIT = 8 * 1024 * 1024
"""Largest import in bytes: browsers give each origin 5 MB of localStorage."""

_STARTING = documented(BadRequest, Forbidden, PayloadTooLarge)

router = APIRouter(
    prefix="/api/v1/workspace/{workspaceId}/projects/{projectName}/auth-sessions",
    dependencies=[Depends(in_workspace), Security(key_header)],
    responses=documented(Unauthorized, NotFound, TooMany, InternalServerError, Unavailable),
    tags=["AuthSessions"],
)


@router.get("", summary="List a project's AuthSessions")
async def list_all(parts: ServicesDep, projectName: str) -> list[AuthSessionBody]:  # noqa: N803 - the contract's names
    """All of them, by id. Those that live for a single Run are not among them."""
    manifest = await require_project(parts, projectName)
    views = await parts.auth_sessions.views(parts.settings.workspace, manifest.project)
    return [closed_auth_session(view) for view in views]


@router.post(
    "/create",
    status_code=201,
    summary="Create an AuthSession",
    openapi_extra=body_of(CreateAuthSession),
    responses=_STARTING | documented(Conflict),
)
async def create(request: Request, parts: ServicesDep, projectName: str) -> LoginStarted:  # noqa: N803
    """Log in with these parameters, and keep the login. If that fails, there is no such AuthSession."""
    manifest = await require_auth_project(parts, projectName)
    return await operations.create(parts, manifest, await read_object(request))


@router.get("/create/{operationId}/result", summary="How a Create stands", response_model=OperationResult)
async def create_result(parts: ServicesDep, projectName: str, operationId: str) -> Response:  # noqa: N803
    """`in_progress` from the moment its Run has begun."""
    return await _result(parts, projectName, operationId, RunType.AUTH_SESSION_CREATE)


@router.post(
    "/import",
    status_code=201,
    summary="Import an AuthSession",
    openapi_extra=body_of(ImportAuthSession),
    responses=_STARTING | documented(Conflict),
)
async def import_state(request: Request, parts: ServicesDep, projectName: str) -> AuthSessionBody:  # noqa: N803
    """Take over the state of a browser in which a person has logged in. With the id of a recorded one: record anew."""
    manifest = await require_auth_project(parts, projectName)
    return await operations.import_state(parts, manifest, await read_object(request, IMPORT_LIMIT))


@router.get("/{authSessionId}", summary="Get an AuthSession")
async def get(parts: ServicesDep, projectName: str, authSessionId: str) -> AuthSessionBody:  # noqa: N803
    """How it stands at this moment."""
    manifest = await require_project(parts, projectName)
    return closed_auth_session(await auth_session(parts, manifest.project, authSessionId))


@router.delete("/{authSessionId}", status_code=204, summary="Delete an AuthSession", response_class=Response)
async def delete(parts: ServicesDep, projectName: str, authSessionId: str) -> None:  # noqa: N803
    """Remove it with its login and its parameters; answers when it is gone. Runs that still need it are canceled."""
    manifest = await require_project(parts, projectName)
    view = await auth_session(parts, manifest.project, authSessionId)
    await parts.auth_sessions.delete(parts.settings.workspace, manifest.project, view.id)


@router.post(
    "/{authSessionId}/update",
    status_code=201,
    summary="Update an AuthSession",
    openapi_extra=body_of(UpdateAuthSession),
    responses=_STARTING,
)
async def update(
    request: Request,
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    authSessionId: str,  # noqa: N803
) -> LoginStarted:
    """Log in with other parameters. If that fails, the old login and parameters stay."""
    manifest = await require_auth_project(parts, projectName)
    return await operations.update(parts, manifest, authSessionId, await read_object(request))


@router.get(
    "/{authSessionId}/update/{operationId}/result", summary="How an Update stands", response_model=OperationResult
)
async def update_result(
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    authSessionId: str,  # noqa: N803
    operationId: str,  # noqa: N803
) -> Response:
    """`in_progress` from the moment its Run has begun."""
    return await _result(parts, projectName, operationId, RunType.AUTH_SESSION_UPDATE, authSessionId)


@router.post(
    "/{authSessionId}/validate/start",
    status_code=201,
    summary="Validate an AuthSession",
    openapi_extra=body_of(ValidateAuthSession),
    responses=_STARTING,
)
async def validate(
    request: Request,
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    authSessionId: str,  # noqa: N803
) -> ValidateStarted:
    """Check whether its login is good and, with `autoRecreate`, make it anew if it is not."""
    manifest = await require_auth_project(parts, projectName)
    return await operations.validate(parts, manifest, authSessionId, await read_object(request))


@router.get(
    "/{authSessionId}/validate/{operationId}/result", summary="How a Validate stands", response_model=OperationResult
)
async def validate_result(
    parts: ServicesDep,
    projectName: str,  # noqa: N803
    authSessionId: str,  # noqa: N803
    operationId: str,  # noqa: N803
) -> Response:
    """`in_progress` from the moment its Run has begun."""
    return await _result(parts, projectName, operationId, RunType.AUTH_SESSION_VALIDATE, authSessionId)


async def _result(
    parts: Services, project: str, operation_id: str, kind: RunType, auth_session_id: str | None = None
) -> Response:
    manifest = await require_project(parts, project)
    body: dict[str, Any] = await operation_body(parts, manifest.project, operation_id, kind, auth_session_id)
    return JSONResponse(body)
