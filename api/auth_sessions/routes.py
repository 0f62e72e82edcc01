"""The calls about AuthSessions (docs/contract.md, section 7; `import` is Callboard's own)."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import JSONResponse, Response

from api.auth_sessions import operations
from api.auth_sessions.lookup import contract_auth_session, require_auth_session, require_changeable_auth_session
from api.auth_sessions.operation_result import operation_result
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.http.workspace_router import workspace_router
from api.projects.lookup import AuthProjectDep, ProjectDep
from schemas.errors import BadRequest, Conflict, Forbidden, PayloadTooLarge
from schemas.rest.access import Scope
from schemas.rest.auth_sessions import (
    AuthSessionBody,
    CreateAuthSession,
    ImportAuthSession,
    OperationResult,
    OperationStarted,
    UpdateAuthSession,
    ValidateAuthSession,
    ValidateStarted,
)
from schemas.workflow.run import RunType

IMPORT_LIMIT = 8 * 1024 * 1024
"""Largest import in bytes: browsers give each origin 5 MB of localStorage."""

_STARTING = error_responses(BadRequest, Forbidden, PayloadTooLarge)

router = workspace_router("/{projectName}/auth-sessions", tag="AuthSessions")


@router.get(
    "",
    dependencies=[requires(Scope.AUTH_SESSIONS)],
    operation_id="listAuthSessions",
    summary="List a project's AuthSessions",
)
async def list_all(services: ServicesDep, manifest: ProjectDep) -> list[AuthSessionBody]:
    """List all stored AuthSessions, sorted by id. Those that live for a single Run are not among them."""
    views = await services.auth_sessions.list_all(services.settings.workspace, manifest.project)
    return [contract_auth_session(view) for view in views]


@router.post(
    "/create",
    dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.create")],
    status_code=201,
    operation_id="createAuthSession",
    summary="Create an AuthSession",
    openapi_extra=request_body(CreateAuthSession),
    responses=_STARTING | error_responses(Conflict),
)
async def create(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: AuthProjectDep
) -> OperationStarted:
    """Log in with these parameters and store the login. If that fails, no AuthSession is created."""
    return await operations.create(services, manifest, await read_json_object(request), caller.actor)


@router.get(
    "/create/{operationId}/result",
    dependencies=[requires(Scope.AUTH_SESSIONS)],
    operation_id="getAuthSessionCreateResult",
    summary="Get a Create's result",
    response_model=OperationResult,
)
async def create_result(services: ServicesDep, manifest: ProjectDep, operationId: str) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    kind = RunType.AUTH_SESSION_CREATE
    return JSONResponse(await operation_result(services, manifest.project, operationId, kind))


@router.post(
    "/import",
    dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.import")],
    status_code=201,
    operation_id="importAuthSession",
    summary="Import an AuthSession",
    openapi_extra=request_body(ImportAuthSession),
    responses=_STARTING | error_responses(Conflict),
)
async def import_state(request: Request, services: ServicesDep, manifest: AuthProjectDep) -> AuthSessionBody:
    """Store the state of a browser in which a person has logged in.

    If there is a recorded AuthSession with this id, its state is replaced.
    """
    return await operations.import_state(services, manifest, await read_json_object(request, IMPORT_LIMIT))


@router.get(
    "/{authSessionId}",
    dependencies=[requires(Scope.AUTH_SESSIONS)],
    operation_id="getAuthSession",
    summary="Get an AuthSession",
)
async def get(services: ServicesDep, manifest: ProjectDep, authSessionId: str) -> AuthSessionBody:
    """Get the AuthSession's type and status."""
    return contract_auth_session(await require_auth_session(services, manifest.project, authSessionId))


@router.delete(
    "/{authSessionId}",
    dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.delete")],
    status_code=204,
    operation_id="deleteAuthSession",
    summary="Delete an AuthSession",
    response_class=Response,
    responses=error_responses(Conflict),
)
async def delete(services: ServicesDep, manifest: ProjectDep, authSessionId: str) -> None:
    """Delete the AuthSession with its login and parameters. Runs that still need it are canceled."""
    view = await require_changeable_auth_session(services, manifest.project, authSessionId)
    await services.auth_sessions.delete(services.settings.workspace, manifest.project, view.id)


@router.post(
    "/{authSessionId}/update",
    dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.update")],
    status_code=201,
    operation_id="updateAuthSession",
    summary="Update an AuthSession",
    openapi_extra=request_body(UpdateAuthSession),
    responses=_STARTING | error_responses(Conflict),
)
async def update(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: AuthProjectDep, authSessionId: str
) -> OperationStarted:
    """Log in with other parameters. If that fails, the old login and parameters stay."""
    return await operations.update(services, manifest, authSessionId, await read_json_object(request), caller.actor)


@router.get(
    "/{authSessionId}/update/{operationId}/result",
    dependencies=[requires(Scope.AUTH_SESSIONS)],
    operation_id="getAuthSessionUpdateResult",
    summary="Get an Update's result",
    response_model=OperationResult,
)
async def update_result(services: ServicesDep, manifest: ProjectDep, authSessionId: str, operationId: str) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    kind = RunType.AUTH_SESSION_UPDATE
    return JSONResponse(await operation_result(services, manifest.project, operationId, kind, authSessionId))


@router.post(
    "/{authSessionId}/validate/start",
    dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.validate")],
    status_code=201,
    operation_id="validateAuthSession",
    summary="Validate an AuthSession",
    openapi_extra=request_body(ValidateAuthSession),
    responses=_STARTING,
)
async def validate(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: AuthProjectDep, authSessionId: str
) -> ValidateStarted:
    """Check the login and, with `autoRecreate`, recreate it if the check fails."""
    return await operations.validate(services, manifest, authSessionId, await read_json_object(request), caller.actor)


@router.get(
    "/{authSessionId}/validate/{operationId}/result",
    dependencies=[requires(Scope.AUTH_SESSIONS)],
    operation_id="getAuthSessionValidateResult",
    summary="Get a Validate's result",
    response_model=OperationResult,
)
async def validate_result(
    services: ServicesDep, manifest: ProjectDep, authSessionId: str, operationId: str
) -> Response:
    """Get the operation's status. It is `in_progress` from the start of its Run."""
    kind = RunType.AUTH_SESSION_VALIDATE
    return JSONResponse(await operation_result(services, manifest.project, operationId, kind, authSessionId))
