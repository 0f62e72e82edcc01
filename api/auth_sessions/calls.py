"""AuthSessions: the calls (docs/contract.md, section 7; `import` is Callboard's own), and their page.

The secrets that AuthSessions hold are never shown. Files of their own have the results of operations, `results.py`, and
logins that people record, `records.py`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from fastapi import Request
from starlette.responses import Response

from api.auth_sessions import operations
from api.auth_sessions.operations import contract_auth_session, require_changeable_auth_session
from api.dashboard.auth import FormDep
from api.dashboard.forms import FormReader
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import AuthProjectDep, OpenProjectDep, ProjectDep
from api.playground.schema_fields import parameters_skeleton, schema_fields
from api.workspace_router import workspace_router
from callboard.projects.apis import LOGIN
from callboard.projects.manifest import Manifest
from callboard.projects.processes import run_in_thread
from callboard.projects.sample_files import read_auth_session_samples
from callboard.projects.variables import DevFolders
from callboard.schemas.errors import BadRequest, CallboardError, Conflict, Forbidden, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.auth_sessions import (
    AuthSessionBody,
    AuthSessionDetails,
    CreateAuthSession,
    ImportAuthSession,
    OperationStarted,
    UpdateAuthSession,
    ValidateAuthSession,
    ValidateStarted,
)
from callboard.schemas.rest.runs import LeaseBody
from callboard.schemas.workflow.auth_session import AuthSessionView
from callboard.schemas.workflow.run import RunStatus, RunType
from callboard.starts.lookup import require_auth_session
from callboard.temporal.listing import RunFilter, RunListItem

IMPORT_LIMIT = 16 * 1024 * 1024
"""Largest import in bytes: as much as a state may have."""
_SEARCHED = 100
"""Number of a project's latest Validates, and of its Creates, among which the newest of each AuthSession are found."""

_REST = workspace_router("/{projectName}/auth-sessions", tag="AuthSessions")
_PAGE = page_router("/projects/{projectName}/auth-sessions")
routers = (_REST, _PAGE)

_READING = [requires(Scope.AUTH_SESSIONS)]
_CREATING = [requires(Scope.AUTH_SESSIONS, "authsession.create")]
_UPDATING = [requires(Scope.AUTH_SESSIONS, "authsession.update")]
_VALIDATING = [requires(Scope.AUTH_SESSIONS, "authsession.validate")]
_IMPORTING = [requires(Scope.AUTH_SESSIONS, "authsession.import")]
_DELETING = [requires(Scope.AUTH_SESSIONS, "authsession.delete")]
_STARTING = error_responses(BadRequest, Forbidden, PayloadTooLarge)


@_REST.get("", dependencies=_READING, operation_id="listAuthSessions", summary="List a project's AuthSessions")
async def list_all(services: ServicesDep, manifest: ProjectDep) -> list[AuthSessionBody]:
    """List all stored AuthSessions, sorted by id. Those that live for a single Run are not among them."""
    views = await services.auth_sessions.list_all(services.settings.workspace, manifest.project)
    return [contract_auth_session(view) for view in views]


@_REST.post(
    "/create",
    dependencies=_CREATING,
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


@_REST.post(
    "/import",
    dependencies=_IMPORTING,
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


@_REST.get("/{authSessionId}", dependencies=_READING, operation_id="getAuthSession", summary="Get an AuthSession")
async def get(services: ServicesDep, manifest: ProjectDep, authSessionId: str) -> AuthSessionDetails:
    """Get the AuthSession's type and status, and who uses its login alone."""
    view = await require_auth_session(services, manifest.project, authSessionId)
    lease = LeaseBody(held_by=view.lease.holder, waiting=view.lease.waiting)
    return AuthSessionDetails(**contract_auth_session(view).model_dump(), lease=lease)


@_REST.delete(
    "/{authSessionId}",
    dependencies=_DELETING,
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


@_REST.post(
    "/{authSessionId}/update",
    dependencies=_UPDATING,
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


@_REST.post(
    "/{authSessionId}/validate/start",
    dependencies=_VALIDATING,
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


@_PAGE.get("", dependencies=_READING)
@_PAGE.get(".json", dependencies=_READING)
async def page(request: Request, services: ServicesDep, manifest: OpenProjectDep) -> Response:
    """List the project's AuthSessions, with a form to create another, or say how a project comes to have any."""
    if not manifest.settings.auth_sessions.enabled:
        none: dict[str, Any] = {"authSessions": [], "failedCreates": []}
        return render_page(request, "auth-sessions-off.html", none, manifest=manifest)
    return await render(request, services, manifest)


@_PAGE.post("", dependencies=_CREATING)
async def create_by_form(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: AuthProjectDep
) -> Response:
    """Create an AuthSession from parameters."""
    try:
        await operations.create(services, manifest, _login_body(form), caller.actor)
    except (BadRequest, Conflict) as error:
        return await render(request, services, manifest, error, form="create", values=form)
    return _redirect(manifest, "create", form.get("id", ""))


@_PAGE.post("-import", dependencies=_IMPORTING)
async def import_by_form(request: Request, services: ServicesDep, form: FormDep, manifest: AuthProjectDep) -> Response:
    """Import the state of a browser in which a person has logged in."""
    reader = FormReader(form)
    body: dict[str, Any] = {"state": reader.json("state", "state")}
    reader.set_if_given(body, "id", reader.text("id"))
    try:
        reader.raise_if_invalid()
        imported = await operations.import_state(services, manifest, body)
    except (BadRequest, Conflict) as error:
        return await render(request, services, manifest, error, form="import", values=form)
    return _redirect(manifest, "import", imported.id)


@_PAGE.post("/{authSessionId}/update", dependencies=_UPDATING)
async def update_by_form(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    form: FormDep,
    manifest: AuthProjectDep,
    authSessionId: str,
) -> Response:
    """Update an AuthSession with other parameters."""
    try:
        await operations.update(services, manifest, authSessionId, _login_body(form), caller.actor)
    except (BadRequest, Conflict) as error:
        return await render(request, services, manifest, error, form=f"update {authSessionId}", values=form)
    return _redirect(manifest, "update", authSessionId)


@_PAGE.post("/{authSessionId}/validate", dependencies=_VALIDATING)
async def validate_by_form(
    services: ServicesDep, caller: CallerDep, _: FormDep, manifest: AuthProjectDep, authSessionId: str
) -> Response:
    """Start a Validate, and redirect to its Run if the caller may read it."""
    started = await operations.validate(services, manifest, authSessionId, {}, caller.actor)
    if not caller.has(Scope.RUNS_READ):
        return _redirect(manifest, "validate", authSessionId)
    return redirect(f"/projects/{manifest.project}/runs/{started.operation_id}")


@_PAGE.post("/{authSessionId}/delete", dependencies=_DELETING)
async def delete_by_form(services: ServicesDep, _: FormDep, manifest: AuthProjectDep, authSessionId: str) -> Response:
    """Delete the AuthSession with its login and parameters."""
    await delete(services, manifest, authSessionId)
    return _redirect(manifest, "delete", authSessionId)


async def render(
    request: Request,
    services: Services,
    manifest: Manifest,
    error: CallboardError | None = None,
    *,
    form: str | None = None,
    values: Mapping[str, str] | None = None,
) -> Response:
    """Show the project's AuthSessions, with what was wrong with this form and what it had, but for secrets.

    Raises:
        ProjectError, Unavailable: They cannot be read.
    """
    data = await _page_data(services, manifest.project)
    described = await services.input_schemas.get(services.store, manifest.project, manifest.version)
    schema = described.of(LOGIN).input_schema
    skeleton = "" if schema is None else parameters_skeleton(schema)
    repeatable = (
        "id",
        "startUrl",
        "createAttempts",
        "checkAttempts",
        "requestTimeout",
    )  # the other fields hold secrets
    return render_page(
        request,
        "auth-sessions.html",
        data,
        error=error,
        manifest=manifest,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        start_url=manifest.settings.auth_sessions.start_url,
        fields=[] if schema is None else [asdict(each) for each in schema_fields(schema)],
        skeleton=skeleton,
        sample=await _sample_parameters(services, manifest) or skeleton,
        form=form,
        values={name: value for name, value in (values or {}).items() if name in repeatable},
        is_changing=any(each["status"] == "PENDING" for each in data["authSessions"]) or "done" in request.query_params,
    )


def _redirect(manifest: Manifest, done: str, auth_session_id: str) -> Response:
    return redirect(f"/projects/{manifest.project}/auth-sessions", done=done, name=auth_session_id)


async def _page_data(services: Services, project: str) -> dict[str, Any]:
    """Return all AuthSessions of a project, each with its last Validate, and the Creates that left none as they failed.

    Raises Unavailable.
    """
    views, validates, creates = await asyncio.gather(
        services.auth_sessions.list_all(services.settings.workspace, project),
        _newest(services, project, RunType.AUTH_SESSION_VALIDATE),
        _newest(services, project, RunType.AUTH_SESSION_CREATE, RunType.AUTH_SESSION_RECORD),
    )
    there = {view.id for view in views}
    failed = [run for name, run in creates.items() if run.status is RunStatus.FAILED and name not in there]
    return {
        "authSessions": [_session_data(view, validates.get(view.id)) for view in views],
        "failedCreates": [_failed_create(run) for run in failed if run.parent_run_id is None],
    }


async def _newest(services: Services, project: str, *kinds: RunType) -> dict[str | None, RunListItem]:
    """Return the newest Run of these types for each AuthSession, among the last hundred. Raises Unavailable."""
    run_filter = RunFilter(types=frozenset(kinds))
    found = await services.run_queries.list_runs(services.settings.workspace, project, run_filter, limit=_SEARCHED)
    return {run.auth_session_id: run for run in sorted(found.runs, key=lambda run: run.created_at)}


def _session_data(view: AuthSessionView, last_validate: RunListItem | None) -> dict[str, Any]:
    return {
        "id": view.id,
        "type": view.type.value,
        "status": view.status.value,
        "fromFile": view.from_file,
        "startUrl": view.start_url,
        "lease": {"heldBy": view.lease.holder, "waiting": view.lease.waiting},
        "createdAt": view.created_at.isoformat(),
        "updatedAt": view.updated_at.isoformat(),
        "lastValidate": last_validate
        and {
            "runId": last_validate.run_id,
            "status": last_validate.status.value,
            "createdAt": last_validate.created_at.isoformat(),
        },
    }


def _failed_create(run: RunListItem) -> dict[str, Any]:
    return {
        "id": run.auth_session_id,
        "runId": run.run_id,
        "endedAt": run.ended_at and run.ended_at.isoformat(),
        "error": run.cause and {"code": run.cause.code, "message": run.cause.message},
    }


def _login_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the create or the update that a form describes. Raises BadRequest.

    The form of an update has no id: its AuthSession is in the address.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"parameters": reader.json("parameters", "parameters")}
    for name in ("id", "proxy"):
        reader.set_if_given(body, name, reader.text(name))
    for name in ("createAttempts", "checkAttempts", "requestTimeout"):
        reader.set_if_given(body, name, reader.number(name, name))
    reader.raise_if_invalid()
    return body


async def _sample_parameters(services: Services, manifest: Manifest) -> str:
    """Return sample parameters for logins in the project's folder, if it has any; there is a folder only in `dev`.

    Raises ProjectError.
    """
    parent = services.settings.dev_projects
    if parent is None:
        return ""
    folder = await run_in_thread(lambda: DevFolders(parent).folder(manifest.project))
    samples = () if folder is None else await run_in_thread(read_auth_session_samples, folder)
    return samples[0].text if samples else ""
