"""Codes: the call by which whoever receives SMS or mail pushes one to a project (docs/contract.md, section 22.1)."""

from __future__ import annotations

import secrets

from fastapi import Request, Response

from api.dependencies import CODES_PER_MINUTE, ServicesDep
from api.http.access import requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import ProjectDep
from api.workspace_router import workspace_router
from callboard.schemas.errors import BadRequest, PayloadTooLarge, TooMany
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.codes import PushCode
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.workflow.inbox import PushedCode
from callboard.security import seal_context
from callboard.security.addressees import addressee

router = workspace_router("/{projectName}/codes", tag="Handoffs")


@router.post(
    "",
    dependencies=[requires(Scope.CODES, "code.push")],
    status_code=204,
    operation_id="pushCode",
    summary="Push a code that was received",
    openapi_extra=request_body(PushCode),
    responses=error_responses(BadRequest, PayloadTooLarge),
    response_class=Response,
)
async def push(request: Request, services: ServicesDep, manifest: ProjectDep) -> None:
    """Give a code to the question that waits for it, or keep it for ten minutes. Nobody gets it twice."""
    project, workspace, ring = manifest.project, services.settings.workspace, services.ring
    if wait := services.pushed_codes.retry_after(project):
        raise TooMany(
            f"At most {CODES_PER_MINUTE} codes may be pushed within a minute. Try again in {wait} seconds.",
            retry_after=wait,
        )
    services.pushed_codes.record(project)
    pushed = validate_body(PushCode, await read_json_object(request))
    code_id = secrets.token_urlsafe()
    sealed = ring.seal(pushed.content, bound_to=seal_context.code(workspace, project, code_id))
    to = addressee(ring, workspace, project, pushed.to)
    await services.inboxes.push(workspace, project, to, PushedCode(id=code_id, content=sealed))
