"""The page of a project's AuthSessions, and its forms. The secrets that AuthSessions hold are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.auth_sessions import operations
from api.auth_sessions.lookup import require_changeable_auth_session
from api.dashboard.auth import FormDep, SessionDep
from api.dashboard.auth_sessions.data import auth_sessions_data, credentials_body, import_body, login_sample_parameters
from api.dashboard.forms import errors_by_path
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import render_page
from api.dependencies import Services, ServicesDep
from api.projects.lookup import require_auth_project, require_open_project
from projects.manifest import Manifest
from schemas.errors import BadRequest, CallboardError, Conflict

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/auth-sessions")
_LIST = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}")


@_LIST.get("/auth-sessions")
@_LIST.get("/auth-sessions.json")
async def list_page(request: Request, services: ServicesDep, _: SessionDep, project: str) -> Response:
    """List the project's AuthSessions, with a form to create another, or say how a project comes to have any."""
    manifest = await require_open_project(services, project)
    if not manifest.settings.auth_sessions.enabled:
        return render_page(request, "auth-sessions-off.html", {"authSessions": []}, project=manifest.project)
    return await _render(request, services, manifest)


@_LIST.post("/auth-sessions")
async def create(request: Request, services: ServicesDep, form: FormDep, project: str) -> Response:
    """Create an AuthSession from parameters."""
    manifest = await require_auth_project(services, project)
    try:
        await operations.create(services, manifest, credentials_body(form, with_id=True))
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form="create", values=form, error=error)
    return _redirect_to_list(project, done="create", id=form.get("id", ""))


@_LIST.post("/auth-sessions-import")
async def import_state(request: Request, services: ServicesDep, form: FormDep, project: str) -> Response:
    """Import the state of a browser in which a person has logged in."""
    manifest = await require_auth_project(services, project)
    try:
        imported = await operations.import_state(services, manifest, import_body(form))
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form="import", values=form, error=error)
    return _redirect_to_list(project, done="import", id=imported.id)


@router.post("/{id}/update")
async def update(request: Request, services: ServicesDep, form: FormDep, project: str, id: str) -> Response:  # noqa: A002
    """Update an AuthSession with other parameters."""
    manifest = await require_auth_project(services, project)
    try:
        await operations.update(services, manifest, id, credentials_body(form, with_id=False))
    except (BadRequest, Conflict) as error:
        return await _render(request, services, manifest, form=f"update {id}", values=form, error=error)
    return _redirect_to_list(project, done="update", id=id)


@router.post("/{id}/validate")
async def validate(services: ServicesDep, _: FormDep, project: str, id: str) -> Response:  # noqa: A002
    """Start a Validate, and redirect to its Run."""
    started = await operations.validate(services, await require_auth_project(services, project), id, {})
    return RedirectResponse(f"/projects/{project}/runs/{started.operation_id}", 303)


@router.post("/{id}/delete")
async def delete(services: ServicesDep, _: FormDep, project: str, id: str) -> Response:  # noqa: A002
    """Delete the AuthSession with its login and parameters."""
    manifest = await require_auth_project(services, project)
    view = await require_changeable_auth_session(services, manifest.project, id)
    await services.auth_sessions.delete(services.settings.workspace, manifest.project, view.id)
    return _redirect_to_list(project, done="delete", id=view.id)


async def _render(
    request: Request,
    services: Services,
    manifest: Manifest,
    *,
    form: str | None = None,
    values: Mapping[str, str] | None = None,
    error: CallboardError | None = None,
) -> Response:
    data: dict[str, Any] = {"authSessions": await auth_sessions_data(services, manifest.project)}
    samples = await login_sample_parameters(services, manifest)
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


routers = (_LIST, router)
