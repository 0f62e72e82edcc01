"""API keys: the calls (docs/contract.md, section 5.4), and their page.

Nobody grants or sees more than his own key allows.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api.dashboard.auth import FormDep
from api.dashboard.forms import FormReader
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, lacks_scope, no_such_project, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.workspace_router import workspace_router
from callboard.projects.project_settings import NAME_RULE, is_project_name
from callboard.schemas.errors import BadRequest, CallboardError, Conflict, Forbidden, NotFound, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.field_errors import field_error
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.rest.keys import CreateKey, KeyCreated, KeyList
from callboard.schemas.timestamps import utc_text
from callboard.schemas.workflow.base import clip
from callboard.security.apikeys import Caller, is_key_id
from callboard.storage.api_keys import caller_with
from callboard.telemetry.log_context import add_log_fields

_LONGEST = 36_500
"""Most days in the field of the form."""

_REST = workspace_router("/keys", tag="Keys", below="")
_PAGE = page_router("/keys")
_OWN_KEY = page_router("/key")
routers = (_REST, _PAGE, _OWN_KEY)

_LISTING = [requires(Scope.KEYS, of_seen_projects=True)]
_MAKING = [requires(Scope.KEYS, "key.create", of_seen_projects=True)]
_REVOKING = [requires(Scope.KEYS, "key.revoke", of_seen_projects=True)]


@_REST.get("", dependencies=_LISTING, operation_id="listKeys", summary="List keys")
async def list_all(services: ServicesDep, caller: CallerDep) -> KeyList:
    """List the keys that do not allow more than the one that asks, the newest first."""
    listed = await services.stored_keys.list()
    return KeyList(keys=[key for key in listed if caller.covers(caller_with(key))])


@_REST.post(
    "",
    dependencies=_MAKING,
    status_code=201,
    operation_id="createKey",
    summary="Make a key",
    openapi_extra=request_body(CreateKey),
    responses=error_responses(BadRequest, Conflict, PayloadTooLarge),
)
async def create(request: Request, services: ServicesDep, caller: CallerDep) -> KeyCreated:
    """Make a key that does not allow more than the one that asks. The key itself is answered now and never again."""
    return await _create(services, caller, await read_json_object(request))


async def _create(services: Services, caller: Caller, body: dict[str, Any]) -> KeyCreated:
    asked = validate_body(CreateKey, body)
    for index, project in enumerate(asked.projects or ()):
        if not is_project_name(project):
            raise field_error(f"projects[{index}]", f"the name of a project: {NAME_RULE}")
    granted = Caller(
        id="",
        name=asked.name,
        scopes=frozenset(asked.scopes),
        projects=None if asked.projects is None else frozenset(asked.projects),
        ends_at=asked.expires_at,
    )
    _require_grantable(caller, granted)
    created = await services.stored_keys.create(granted, caller)
    add_log_fields(keyId=created.id)
    return created


@_REST.delete(
    "/{keyId}",
    dependencies=_REVOKING,
    status_code=204,
    operation_id="revokeKey",
    summary="Revoke a key",
    response_class=Response,
)
async def revoke(services: ServicesDep, caller: CallerDep, keyId: str) -> None:
    """Revoke a key that does not allow more than the one that asks. All apis refuse it within five seconds."""
    known = await services.stored_keys.get(keyId)
    if known is None or not caller.covers(known):
        raise NotFound(f"There is no key with the id {keyId if is_key_id(keyId) else clip(keyId, 100)!r}.")
    await services.stored_keys.revoke(keyId)


@_PAGE.get("", dependencies=_LISTING)
@_PAGE.get(".json", dependencies=_LISTING)
async def page(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """List the keys, with a form to make another one."""
    return await _render(request, services, caller, revoked=request.query_params.get("revoked"))


@_PAGE.post("", dependencies=_MAKING)
async def create_by_form(request: Request, services: ServicesDep, caller: CallerDep, form: FormDep) -> Response:
    """Make a key, and show it: this page is the only one that has it."""
    reader = FormReader(form)
    body: dict[str, Any] = {"name": form.get("name", "").strip(), "scopes": form.getlist("scopes")}
    reader.set_if_given(body, "projects", (reader.text("projects") or "").split() or None)
    try:
        if (days := reader.number("days", "expiresAt")) is not None:
            body["expiresAt"] = (datetime.now(UTC) + timedelta(days=min(days, _LONGEST))).isoformat()
        reader.raise_if_invalid()
        created = await _create(services, caller, body)
    except (BadRequest, Forbidden, NotFound, Conflict) as error:
        return await _render(request, services, caller, error, values=dict(form), chosen=form.getlist("scopes"))
    return await _render(request, services, caller, created=created)


@_PAGE.post("/{keyId}/revoke", dependencies=_REVOKING)
async def revoke_by_form(services: ServicesDep, caller: CallerDep, _: FormDep, keyId: str) -> Response:
    """Revoke a key. Whoever revokes his own is signed out by that."""
    await revoke(services, caller, keyId)
    return redirect("/keys", revoked=keyId)


@_OWN_KEY.get("")
@_OWN_KEY.get(".json")
async def own_page(request: Request, caller: CallerDep) -> Response:
    """Tell what the caller's own key allows. This needs no scope, and is where those begin who may read no Runs."""
    data = {
        "id": caller.id,
        "name": caller.name,
        "scopes": sorted(caller.scopes),
        "projects": None if caller.projects is None else sorted(caller.projects),
        "expiresAt": None if caller.ends_at is None else utc_text(caller.ends_at),
    }
    return render_page(request, "key.html", data)


async def _render(
    request: Request,
    services: Services,
    caller: Caller,
    error: CallboardError | None = None,
    *,
    created: KeyCreated | None = None,
    **shown: Any,
) -> Response:
    data = (await list_all(services, caller)).model_dump(mode="json", by_alias=True)
    fresh: dict[str, Any] = {"values": {}, "chosen": [], "revoked": None}
    return render_page(
        request,
        "keys.html",
        data | {"created": created and created.model_dump(mode="json", by_alias=True)},
        error=error,
        scopes={scope.value: scope.meaning for scope in Scope if caller.has(scope)},
        own_projects=" ".join(sorted(caller.projects or ())),
        own_end=caller.ends_at,
        own_id=caller.id,
        now=datetime.now(UTC),
        **fresh | shown,
    )


def _require_grantable(caller: Caller, granted: Caller) -> None:
    for scope in sorted(granted.scopes):
        if not caller.has(scope):
            raise lacks_scope(scope, f"Your key cannot give away the scope {scope.value}, which it does not have.")
    if not caller.sees_all(granted.projects):
        for project in sorted(granted.projects or ()):
            if not caller.sees(project):
                raise no_such_project(project)
        raise Forbidden("Your key is for some projects only, so it cannot make one for all. Name the projects.")
    if not caller.outlives(granted.ends_at) and caller.ends_at is not None:
        end = utc_text(caller.ends_at)
        raise Forbidden(f"Your key ends at {end}, so it cannot make one that is good for longer.")
