"""The page of a project's AuthSessions, and its forms. The secrets that AuthSessions hold are never shown."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request
from starlette.responses import RedirectResponse, Response

from api.auth_sessions import operations
from api.auth_sessions.lookup import require_changeable_auth_session
from api.dashboard.auth import FormDep
from api.dashboard.forms import FormReader, errors_by_path
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.projects.lookup import AuthProjectDep, OpenProjectDep
from projects.dotenv import DevFolders
from projects.manifest import Manifest
from projects.processes import run_in_thread
from projects.sample_files import Sample, read_auth_session_samples
from schemas.errors import BadRequest, CallboardError, Conflict
from schemas.rest.access import Scope
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.run import RunStatus, RunType
from temporal.listing import RunFilter, RunListItem

router = page_router("/projects/{projectName}/auth-sessions")

_SEARCHED = 100
"""Number of a project's latest Validates, and of its Creates, among which the newest of each AuthSession are found."""


@router.get("", dependencies=[requires(Scope.AUTH_SESSIONS)])
@router.get(".json", dependencies=[requires(Scope.AUTH_SESSIONS)])
async def list_page(request: Request, services: ServicesDep, manifest: OpenProjectDep) -> Response:
    """List the project's AuthSessions, with a form to create another, or say how a project comes to have any."""
    if not manifest.settings.auth_sessions.enabled:
        return render_page(
            request, "auth-sessions-off.html", {"authSessions": [], "failedCreates": []}, project=manifest.project
        )
    return await _render(request, services, manifest)


@router.post("", dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.create")])
async def create(
    request: Request, services: ServicesDep, caller: CallerDep, form: FormDep, manifest: AuthProjectDep
) -> Response:
    """Create an AuthSession from parameters."""
    try:
        await operations.create(services, manifest, _credentials_body(form, with_id=True), caller.actor)
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form="create", values=form, error=error)
    return _redirect_to_list(manifest.project, done="create", id=form.get("id", ""))


@router.post("-import", dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.import")])
async def import_state(request: Request, services: ServicesDep, form: FormDep, manifest: AuthProjectDep) -> Response:
    """Import the state of a browser in which a person has logged in."""
    try:
        imported = await operations.import_state(services, manifest, _import_body(form))
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form="import", values=form, error=error)
    return _redirect_to_list(manifest.project, done="import", id=imported.id)


@router.post("/{authSessionId}/update", dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.update")])
async def update(
    request: Request,
    services: ServicesDep,
    caller: CallerDep,
    form: FormDep,
    manifest: AuthProjectDep,
    authSessionId: str,
) -> Response:
    """Update an AuthSession with other parameters."""
    try:
        await operations.update(services, manifest, authSessionId, _credentials_body(form, with_id=False), caller.actor)
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form=f"update {authSessionId}", values=form, error=error)
    return _redirect_to_list(manifest.project, done="update", id=authSessionId)


@router.post("/{authSessionId}/validate", dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.validate")])
async def validate(
    services: ServicesDep, caller: CallerDep, _: FormDep, manifest: AuthProjectDep, authSessionId: str
) -> Response:
    """Start a Validate, and redirect to its Run if the caller may read it."""
    started = await operations.validate(services, manifest, authSessionId, {}, caller.actor)
    if not caller.has(Scope.RUNS_READ):
        return _redirect_to_list(manifest.project, done="validate", id=authSessionId)
    return RedirectResponse(f"/projects/{manifest.project}/runs/{started.operation_id}", 303)


@router.post("/{authSessionId}/delete", dependencies=[requires(Scope.AUTH_SESSIONS, "authsession.delete")])
async def delete(services: ServicesDep, _: FormDep, manifest: AuthProjectDep, authSessionId: str) -> Response:
    """Delete the AuthSession with its login and parameters."""
    view = await require_changeable_auth_session(services, manifest.project, authSessionId)
    await services.auth_sessions.delete(services.settings.workspace, manifest.project, view.id)
    return _redirect_to_list(manifest.project, done="delete", id=view.id)


async def _render(
    request: Request,
    services: Services,
    manifest: Manifest,
    *,
    form: str | None = None,
    values: Mapping[str, str] | None = None,
    error: CallboardError | None = None,
) -> Response:
    data = await _auth_sessions_data(services, manifest.project)
    samples = await _login_sample_parameters(services, manifest)
    repeatable = ("id", "createAttempts", "checkAttempts", "requestTimeout")  # the other fields hold secrets
    return render_page(
        request,
        "auth-sessions.html",
        data,
        status=200 if error is None else error.status,
        project=manifest.project,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        sample=samples[0].text if samples else "",
        form=form,
        values={name: value for name, value in (values or {}).items() if name in repeatable},
        errors={} if error is None else errors_by_path(error),
        message=None if error is None else error.message,
        done=request.query_params.get("done"),
        done_id=request.query_params.get("id", ""),
        is_changing=any(each["status"] == "PENDING" for each in data["authSessions"]) or "done" in request.query_params,
    )


def _redirect_to_list(project: str, **query: str) -> Response:
    return RedirectResponse(f"/projects/{project}/auth-sessions?{urlencode(query)}", 303)


async def _auth_sessions_data(services: Services, project: str) -> dict[str, Any]:
    """Return all AuthSessions of a project, each with its last Validate, and the Creates that left none as they failed.

    Raises Unavailable.
    """
    views, validates, creates = await asyncio.gather(
        services.auth_sessions.list_all(services.settings.workspace, project),
        _newest(services, project, RunType.AUTH_SESSION_VALIDATE),
        _newest(services, project, RunType.AUTH_SESSION_CREATE),
    )
    there = {view.id for view in views}
    failed = [run for name, run in creates.items() if run.status is RunStatus.FAILED and name not in there]
    return {
        "authSessions": [_session_data(view, validates.get(view.id)) for view in views],
        "failedCreates": [_failed_create(run) for run in failed if run.parent_run_id is None],
    }


async def _newest(services: Services, project: str, kind: RunType) -> dict[str | None, RunListItem]:
    """Return the newest Run of this type for each AuthSession, if it is among the last hundred. Raises Unavailable."""
    run_filter = RunFilter(types=frozenset({kind}))
    page = await services.run_queries.list_runs(services.settings.workspace, project, run_filter, limit=_SEARCHED)
    return {run.auth_session_id: run for run in sorted(page.runs, key=lambda run: run.created_at)}


def _failed_create(run: RunListItem) -> dict[str, Any]:
    return {
        "id": run.auth_session_id,
        "runId": run.run_id,
        "endedAt": run.ended_at and run.ended_at.isoformat(),
        "error": run.cause and {"code": run.cause.code, "message": run.cause.message},
    }


def _session_data(view: AuthSessionView, last_validate: RunListItem | None) -> dict[str, Any]:
    validate = None
    if last_validate is not None:
        validate = {
            "runId": last_validate.run_id,
            "status": last_validate.status.value,
            "createdAt": last_validate.created_at.isoformat(),
        }
    return {
        "id": view.id,
        "type": view.type.value,
        "status": view.status.value,
        "fromFile": view.from_file,
        "createdAt": view.created_at.isoformat(),
        "updatedAt": view.updated_at.isoformat(),
        "lastValidate": validate,
    }


def _credentials_body(form: Mapping[str, str], *, with_id: bool) -> dict[str, Any]:
    """Return the body of the create or update that a form describes.

    Args:
        form: The fields of the form.
        with_id: Whether the body may have an id, as that of a create; it has one if the form gives one.

    Raises:
        BadRequest: The text of a field is invalid.
    """
    reader = FormReader(form)
    body: dict[str, Any] = {"parameters": reader.json("parameters", "parameters")}
    if with_id:
        reader.set_if_given(body, "id", reader.text("id"))
    reader.set_if_given(body, "proxy", reader.text("proxy"))
    for name in ("createAttempts", "checkAttempts", "requestTimeout"):
        reader.set_if_given(body, name, reader.number(name, name))
    reader.raise_if_invalid()
    return body


def _import_body(form: Mapping[str, str]) -> dict[str, Any]:
    """Return the body of the import that a form describes. Raises BadRequest."""
    reader = FormReader(form)
    body: dict[str, Any] = {"state": reader.json("state", "state")}
    reader.set_if_given(body, "id", reader.text("id"))
    reader.raise_if_invalid()
    return body


async def _login_sample_parameters(services: Services, manifest: Manifest) -> tuple[Sample, ...]:
    """Return the sample parameters for logins in the project's folder; there is a folder only in `dev`.

    Raises ProjectError.
    """
    parent = services.settings.dev_projects
    if parent is None:
        return ()
    folder = await run_in_thread(lambda: DevFolders(parent).folder(manifest.project))
    return () if folder is None else await run_in_thread(read_auth_session_samples, folder)
