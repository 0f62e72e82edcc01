"""The calls about API keys (docs/contract.md, section 5.4)."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.http.workspace_router import workspace_router
from api.keys import changes
from schemas.errors import BadRequest, Conflict, PayloadTooLarge
from schemas.rest.access import Scope
from schemas.rest.keys import CreateKey, KeyCreated, KeyList

router = workspace_router("/keys", tag="Keys", below="")


@router.get("", dependencies=[requires(Scope.KEYS, of_seen_projects=True)], summary="List keys")
async def list_all(services: ServicesDep, caller: CallerDep) -> KeyList:
    """List the keys that do not allow more than the one that asks, the newest first."""
    return KeyList(keys=await changes.list_keys(services, caller))


@router.post(
    "",
    dependencies=[requires(Scope.KEYS, "key.create", of_seen_projects=True)],
    status_code=201,
    summary="Make a key",
    openapi_extra=request_body(CreateKey),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def create(request: Request, services: ServicesDep, caller: CallerDep) -> KeyCreated:
    """Make a key that does not allow more than the one that asks. The key itself is answered now and never again."""
    return await changes.create_key(services, caller, await read_json_object(request))


@router.delete(
    "/{keyId}",
    dependencies=[requires(Scope.KEYS, "key.revoke", of_seen_projects=True)],
    status_code=204,
    summary="Revoke a key",
    response_class=Response,
)
async def revoke(services: ServicesDep, caller: CallerDep, keyId: str) -> None:
    """Revoke a key that does not allow more than the one that asks. All apis refuse it within five seconds."""
    await changes.revoke_key(services, caller, keyId)
