"""AuthSessions that people record: the calls (docs/contract.md, section 7.4), and the page where a person logs in."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from fastapi import Request
from starlette.responses import Response

from api.auth_sessions import calls, operations
from api.auth_sessions.results import operation_result
from api.dashboard.auth import FormDep
from api.dashboard.forms import FormReader
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import AuthProjectDep, ProjectDep
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.schemas.errors import BadRequest, Conflict, Forbidden, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.auth_sessions import OperationStarted, RecordAuthSession, RecordStarted, RenewAuthSession
from callboard.schemas.rest.handoffs import HandoffBody
from callboard.schemas.workflow.run import RunType

_REST = workspace_router("/{projectName}/auth-sessions", tag="AuthSessions")
_PAGE = page_router("/projects/{projectName}/auth-sessions")
routers = (_REST, _PAGE)

_READING = [requires(Scope.AUTH_SESSIONS)]
_RECORDING = [requires(Scope.AUTH_SESSIONS, "authsession.record")]
_STARTING = error_responses(BadRequest, Forbidden, PayloadTooLarge, Conflict)


@_REST.post(
    "/record",
    dependencies=_RECORDING,
    status_code=201,
    operation_id="recordAuthSession",
    summary="Record an AuthSession",
    openapi_extra=request_body(RecordAuthSession),
    responses=_STARTING,
)
async def record(request: Request, services: ServicesDep, caller: CallerDep, manifest: AuthProjectDep) -> RecordStarted:
    """Have a person log in, in a browser of Callboard, and store the login. If that fails, no AuthSession is created.

    A Handoff of its Run waits for the person.
    """
    started = await operations.record(services, manifest, await read_json_object(request), caller.actor)
    return _started(request, manifest, started)


@_REST.post(
    "/{authSessionId}/record",
    dependencies=_RECORDING,
    status_code=201,
    operation_id="renewAuthSession",
    summary="Record an AuthSession anew",
    openapi_extra=request_body(RenewAuthSession),
    responses=_STARTING,
)
async def renew(
    request: Request, services: ServicesDep, caller: CallerDep, manifest: AuthProjectDep, authSessionId: str
) -> RecordStarted:
    """Have a person log in anew. If that fails, the old login stays."""
    body = await read_json_object(request)
    return _started(request, manifest, await operations.renew(services, manifest, authSessionId, body, caller.actor))


@_PAGE.post("/record", dependencies=_RECORDING)
async def record_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: AuthProjectDep
) -> Response:
    """Start to record an AuthSession, and show the page in which a person logs in."""
    reader, body = FormReader(form), dict[str, Any]()
    for name in ("id", "startUrl", "proxy"):
        reader.set_if_given(body, name, reader.text(name))
    try:
        started = await operations.record(services, manifest, body, caller.actor)
    except (BadRequest, Conflict) as error:
        return await calls.render(request, services, manifest, error, form="record", values=form)
    return redirect(_address(manifest, started.operation_id))


@_PAGE.post("/{authSessionId}/record", dependencies=_RECORDING)
async def renew_by_form(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    form: FormDep,
    manifest: AuthProjectDep,
    authSessionId: str,
) -> Response:
    """Record an AuthSession anew, or go on with a record that there is, and show the page in which a person logs in."""
    reader, body = FormReader(form), dict[str, Any]()
    reader.set_if_given(body, "startUrl", reader.text("startUrl"))
    try:
        started = await operations.renew(services, manifest, authSessionId, body, caller.actor)
    except (BadRequest, Conflict) as error:
        if error.details is not None and "operationId" in error.details:  # whoever wants to log in may do so there
            return redirect(_address(manifest, error.details["operationId"]))
        return await calls.render(request, services, manifest, error, form=f"record {authSessionId}", values=form)
    return redirect(_address(manifest, started.operation_id))


@_PAGE.get("/record/{operationId}", dependencies=_READING)
@_PAGE.get("/record/{operationId}.json", dependencies=_READING)
async def page(request: Request, services: ServicesDep, manifest: ProjectDep, operationId: str) -> Response:
    """Show the browser in which a person logs in, once it is there, and afterwards what has come of it."""
    result = await operation_result(services, manifest.project, operationId, RunType.AUTH_SESSION_RECORD)
    handoffs: list[dict[str, Any]] = []
    if "handoff" in result:
        asked = await services.runs.list_handoffs(services.settings.workspace, manifest.project, operationId)
        handoffs = [HandoffBody.of(each).model_dump(mode="json", by_alias=True) for each in asked if each.is_open]
    data = {"operationId": operationId, "result": result, "handoffs": handoffs}
    return render_page(request, "record.html", data, manifest=manifest)


def _started(request: Request, manifest: Manifest, started: OperationStarted) -> RecordStarted:
    url = f"{str(request.base_url).rstrip('/')}{_address(manifest, started.operation_id)}"
    return RecordStarted(operation_id=started.operation_id, url=url)


def _address(manifest: Manifest, operation_id: str) -> str:
    return f"/projects/{quote(manifest.project, safe='')}/auth-sessions/record/{operation_id}"
