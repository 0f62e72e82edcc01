"""The calls that deploy a project: those of the contract, with additions (docs/contract.md, section 8.4)."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Request

from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, no_such_project, requires
from api.http.errors import error_responses
from api.http.json_body import BODY_LIMIT, read_body
from api.http.openapi import request_body
from api.http.uploads import GZIP
from api.workspace_router import workspace_router
from callboard.projects.manifest import read_manifest
from callboard.projects.project_settings import NAME_RULE, is_project_name
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.deploys import (
    CodeTree,
    DeployedResources,
    DeployQuery,
    DeployRequest,
    DeployResult,
    DeployStarted,
    UploadBody,
)
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import parse_json_object, validate_body
from callboard.schemas.workflow.deploy import DeployInput
from callboard.telemetry.log_context import add_log_fields
from callboard.temporal.deploys import Deploy

router = workspace_router("/{projectName}", tag="Deploys")

_TAR = {"type": "string", "format": "binary", "description": "A tar of the project folder's files."}


async def _require_name(projectName: str) -> str:
    """Return the name of a project that may not exist yet. Raises BadRequest if no project can have it."""
    if not is_project_name(projectName):
        raise field_error("projectName", f"the name of a project: {NAME_RULE}")
    return projectName


_NameDep = Annotated[str, Depends(_require_name)]


@router.put(
    "",
    dependencies=[requires(Scope.DEPLOY, "project.upload")],
    operation_id="uploadProject",
    summary="Send a project",
    openapi_extra=request_body(CodeTree, also={GZIP: _TAR}),
    responses=error_responses(BadRequest, Forbidden, PayloadTooLarge),
)
async def upload(request: Request, services: ServicesDep, project: _NameDep) -> UploadBody:
    """Send a project folder, which is deployed by the next call: as a tar that gzip has compressed, or as JSON."""
    upload_id = await services.uploads.receive(project, request)
    add_log_fields(uploadId=upload_id)
    return UploadBody(id=upload_id)


@router.post(
    "/deploy",
    dependencies=[requires(Scope.DEPLOY, "project.deploy")],
    operation_id="deployProject",
    summary="Deploy a project",
    openapi_extra=request_body(DeployRequest, required=False),
    responses=error_responses(BadRequest, Forbidden, Conflict, PayloadTooLarge),
)
async def deploy(request: Request, services: ServicesDep, caller: CallerDep, project: _NameDep) -> DeployStarted:
    """Deploy a project that was sent. Workers do that; `result` tells how far they are."""
    body = await read_body(request, BODY_LIMIT)
    wanted = validate_body(DeployRequest, parse_json_object(body) if body else {})
    upload_id = await services.uploads.find(project, wanted.id)
    add_log_fields(uploadId=upload_id)
    started = await services.deploys.start(
        DeployInput(
            workspace=services.settings.workspace,
            project=project,
            upload=upload_id,
            by=caller.name,
            message=wanted.message,
            commit=wanted.commit,
            promote=wanted.promote,
        )
    )
    add_log_fields(deployId=started)
    return DeployStarted(id=started)


@router.get(
    "/deploy/result",
    dependencies=[requires(Scope.DEPLOY)],
    operation_id="getDeployResult",
    summary="Get a deploy's result",
    responses=error_responses(BadRequest, Forbidden),
)
async def result(services: ServicesDep, projectName: str, query: Annotated[DeployQuery, Query()]) -> DeployResult:
    """Tell how far the latest deploy of the project is, or how it has ended."""
    if not is_project_name(projectName):
        raise no_such_project(projectName)
    found = await services.deploys.get(services.settings.workspace, projectName, query.id)
    return await _result_body(services, projectName, found)


async def _result_body(services: Services, project: str, found: Deploy) -> DeployResult:
    view = found.view
    published = view.published
    manifest = None if published is None else await read_manifest(services.store, project, published.version)
    return DeployResult.model_validate(
        {
            "status": view.status.value,
            "message": view.message,
            "reason": view.reason,
            "id": found.id,
            "version": published and published.version,
            "promoted": view.promote if published is not None else None,
            "deployed_at": published and published.deployed_at,
            "apis": [] if manifest is None else list(manifest.apis),
            "warnings": [] if manifest is None else [str(warning) for warning in manifest.warnings],
            "resources": await _resources_body(services, project, found),
        }
    )


async def _resources_body(services: Services, project: str, found: Deploy) -> DeployedResources | None:
    published = found.view.published
    if published is None or not published.has_resources:
        return None
    application = await services.deploys.get_application(project, published.deployed_at)
    if application is None:
        return None
    applied = application.applied
    return DeployedResources.model_validate(
        {
            "status": application.status.value,
            "jobs": applied and applied.jobs.model_dump(),
            "auth_sessions": applied and applied.auth_sessions.model_dump(),
        }
    )
