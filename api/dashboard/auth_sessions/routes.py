"""The page of a project's AuthSessions, and its forms. The secrets that AuthSessions hold are never shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request
from starlette.responses import RedirectResponse, Response

from api.auth_sessions import operations
from api.dashboard.auth import Form, SignedIn
from api.dashboard.auth_sessions.data import auth_sessions_data, import_body, login_body, samples_of_logins
from api.dashboard.form_reader import errors_by_path
from api.dashboard.page_route import PageRoute
from api.dashboard.rendering import page
from api.dependencies import Services, ServicesDep
from api.guards import auth_session, require_auth_project
from projects.manifest import Manifest
from schemas.errors import BadRequest, CallboardError, Conflict

router = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}/auth-sessions")
_LIST = APIRouter(route_class=PageRoute, include_in_schema=False, prefix="/projects/{project}")


@_LIST.get("/auth-sessions")
@_LIST.get("/auth-sessions.json")
async def all_auth_sessions(request: Request, parts: ServicesDep, _: SignedIn, project: str) -> Response:
    """All of them, and a form for another."""
    return await _page(request, parts, await require_auth_project(parts, project))


@_LIST.post("/auth-sessions")
async def create(request: Request, parts: ServicesDep, form: Form, project: str) -> Response:
    """Log in with these parameters."""
    manifest = await require_auth_project(parts, project)
    try:
        await operations.create(parts, manifest, login_body(form, named=True))
    except (BadRequest, Conflict) as error:
        return await _page(request, parts, manifest, form="create", given=form, error=error)
    return _back(project, done="create", id=form.get("id", ""))


@_LIST.post("/auth-sessions-import")
async def import_state(request: Request, parts: ServicesDep, form: Form, project: str) -> Response:
    """Take over a state in which a person has logged in."""
    manifest = await require_auth_project(parts, project)
    try:
        taken = await operations.import_state(parts, manifest, import_body(form))
    except (BadRequest, Conflict) as error:
        return await _page(request, parts, manifest, form="import", given=form, error=error)
    return _back(project, done="import", id=taken.id)


@router.post("/{id}/update")
async def update(request: Request, parts: ServicesDep, form: Form, project: str, id: str) -> Response:  # noqa: A002
    """Log in with other parameters."""
    manifest = await require_auth_project(parts, project)
    try:
        await operations.update(parts, manifest, id, login_body(form, named=False))
    except BadRequest as error:
        return await _page(request, parts, manifest, form=f"update {id}", given=form, error=error)
    return _back(project, done="update", id=id)


@router.post("/{id}/validate")
async def validate(parts: ServicesDep, _: Form, project: str, id: str) -> Response:  # noqa: A002
    """Find out whether it is good; leads to the Run that does."""
    started = await operations.validate(parts, await require_auth_project(parts, project), id, {})
    return RedirectResponse(f"/projects/{project}/runs/{started.operation_id}", 303)


@router.post("/{id}/delete")
async def delete(parts: ServicesDep, _: Form, project: str, id: str) -> Response:  # noqa: A002
    """Remove it with all that it holds."""
    manifest = await require_auth_project(parts, project)
    view = await auth_session(parts, manifest.project, id)
    await parts.auth_sessions.delete(parts.settings.workspace, manifest.project, view.id)
    return _back(project, done="delete", id=view.id)


async def _page(
    request: Request,
    parts: Services,
    manifest: Manifest,
    *,
    form: str | None = None,
    given: Mapping[str, str] | None = None,
    error: CallboardError | None = None,
) -> Response:
    data: dict[str, Any] = {"authSessions": await auth_sessions_data(parts, manifest.project)}
    samples = await samples_of_logins(parts, manifest)
    kept = ("id", "createAttempts", "checkAttempts", "requestTimeout")  # the other fields hold secrets
    return page(
        request,
        "auth-sessions.html",
        data,
        status=200 if error is None else error.status,
        project=manifest.project,
        recorded=manifest.settings.auth_sessions.type == "MANUAL",
        sample=samples[0].text if samples else "",
        form=form,
        given={name: value for name, value in (given or {}).items() if name in kept},
        errors={} if error is None else errors_by_path(error),
        message=None if error is None else error.message,
        done=request.query_params.get("done"),
        done_id=request.query_params.get("id", ""),
        is_moving=any(each["status"] == "PENDING" for each in data["authSessions"]) or "done" in request.query_params,
    )


def _back(project: str, **said: str) -> Response:
    return RedirectResponse(f"/projects/{project}/auth-sessions?{urlencode(said)}", 303)


routers = (_LIST, router)
