"""The page of API keys, with a form to make one, and the page that tells what one's own key allows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.forms import FormReader, errors_by_path
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.keys import changes
from schemas.errors import BadRequest, CallboardError, Conflict, Forbidden, NotFound
from schemas.rest.access import Scope
from schemas.rest.keys import KeyCreated
from schemas.timestamps import utc_text
from security.caller import Caller

_LONGEST = 36_500
"""Most days in the field of the form."""

_KEYS = page_router("/keys")
_OWN_KEY = page_router("/key")
routers = (_KEYS, _OWN_KEY)


@_KEYS.get("", dependencies=[requires(Scope.KEYS, of_seen_projects=True)])
@_KEYS.get(".json", dependencies=[requires(Scope.KEYS, of_seen_projects=True)])
async def list_page(request: Request, services: ServicesDep, caller: CallerDep) -> Response:
    """List the keys that do not allow more than the caller's, with a form to make another one."""
    return await _render(request, services, caller, revoked=request.query_params.get("revoked"))


@_KEYS.post("", dependencies=[requires(Scope.KEYS, "key.create", of_seen_projects=True)])
async def create(request: Request, services: ServicesDep, caller: CallerDep, form: FormDep) -> Response:
    """Make a key, and show it: this page is the only one that has it."""
    try:
        created = await changes.create_key(services, caller, _body(form))
    except (BadRequest, Forbidden, NotFound, Conflict) as error:
        return await _render(request, services, caller, form=form, error=error)
    return await _render(request, services, caller, created=created)


@_KEYS.post("/{keyId}/revoke", dependencies=[requires(Scope.KEYS, "key.revoke", of_seen_projects=True)])
async def revoke(services: ServicesDep, caller: CallerDep, _: FormDep, keyId: str) -> Response:
    """Revoke a key. Whoever revokes his own is signed out by that."""
    await changes.revoke_key(services, caller, keyId)
    return RedirectResponse(f"/keys?{urlencode({'revoked': keyId})}", 303)


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


def _body(form: ImmutableMultiDict[str, str]) -> dict[str, Any]:
    """Return the body of the request that the form describes. Raises BadRequest."""
    reader = FormReader(form)
    body: dict[str, Any] = {"name": form.get("name", "").strip(), "scopes": form.getlist("scopes")}
    reader.set_if_given(body, "projects", (reader.text("projects") or "").split() or None)
    days = reader.number("days", "expiresAt")
    reader.raise_if_invalid()
    if days is not None:
        body["expiresAt"] = (datetime.now(UTC) + timedelta(days=min(days, _LONGEST))).isoformat()
    return body


async def _render(
    request: Request,
    services: Services,
    caller: Caller,
    *,
    created: KeyCreated | None = None,
    revoked: str | None = None,
    form: ImmutableMultiDict[str, str] | None = None,
    error: CallboardError | None = None,
) -> Response:
    listed = await changes.list_keys(services, caller)
    data = {
        "keys": [each.model_dump(mode="json", by_alias=True) for each in listed],
        "created": None if created is None else created.model_dump(mode="json", by_alias=True),
    }
    return render_page(
        request,
        "keys.html",
        data,
        status=200 if error is None else error.status,
        scopes=[scope.value for scope in Scope if caller.has(scope)],
        own_projects=" ".join(sorted(caller.projects or ())),
        own_end=caller.ends_at,
        own_id=caller.id,
        now=datetime.now(UTC),
        values={} if form is None else dict(form),
        chosen=[] if form is None else form.getlist("scopes"),
        errors={} if error is None else errors_by_path(error),
        message=None if error is None else error.message,
        revoked=revoked,
    )
