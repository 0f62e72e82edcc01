"""The pages of the environment variables of a project and of the workspace, and their forms. No secret is shown."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import Request
from starlette.datastructures import ImmutableMultiDict
from starlette.responses import RedirectResponse, Response

from api.dashboard.auth import FormDep
from api.dashboard.forms import errors_by_path
from api.dashboard.page_route import page_router
from api.dashboard.rendering import render_page
from api.dependencies import Services, ServicesDep
from api.env_vars import changes
from api.http.access import CallerDep, requires
from api.projects.lookup import ProjectDep
from projects.manifest import Manifest
from schemas.errors import BadRequest, CallboardError
from schemas.rest.access import Scope
from schemas.rest.env_vars import VariableScope
from security.caller import Caller

_of_project = page_router("/projects/{projectName}/env-vars")
_of_workspace = page_router("/env-vars")
routers = (_of_project, _of_workspace)

_READING = requires(Scope.ENV_VARS)
_SET = requires(Scope.ENV_VARS, "env-var.set")
_DELETE = requires(Scope.ENV_VARS, "env-var.delete")


@_of_project.get("", dependencies=[_READING])
@_of_project.get(".json", dependencies=[_READING])
async def project_page(request: Request, services: ServicesDep, manifest: ProjectDep) -> Response:
    """List the project's own variables, with a form to set one."""
    return await _render(request, services, manifest)


@_of_project.post("", dependencies=[_SET])
async def set_of_project(
    request: Request, services: ServicesDep, form: FormDep, manifest: ProjectDep, caller: CallerDep
) -> Response:
    """Set a variable of the project."""
    return await _set(request, services, form, manifest, caller)


@_of_project.post("/{name}/delete", dependencies=[_DELETE])
async def delete_of_project(services: ServicesDep, _: FormDep, manifest: ProjectDep, name: str) -> Response:
    """Delete a variable of the project."""
    await changes.delete_variable(services, manifest.project, name)
    return _redirect(manifest, done="delete", name=name)


@_of_workspace.get("", dependencies=[_READING])
@_of_workspace.get(".json", dependencies=[_READING])
async def workspace_page(request: Request, services: ServicesDep) -> Response:
    """List the variables that all projects have, with a form to set one."""
    return await _render(request, services, None)


@_of_workspace.post("", dependencies=[_SET])
async def set_of_workspace(request: Request, services: ServicesDep, form: FormDep, caller: CallerDep) -> Response:
    """Set a variable of the workspace."""
    return await _set(request, services, form, None, caller)


@_of_workspace.post("/{name}/delete", dependencies=[_DELETE])
async def delete_of_workspace(services: ServicesDep, _: FormDep, name: str) -> Response:
    """Delete a variable of the workspace."""
    await changes.delete_variable(services, None, name)
    return _redirect(None, done="delete", name=name)


async def _set(
    request: Request,
    services: Services,
    form: ImmutableMultiDict[str, str],
    manifest: Manifest | None,
    caller: Caller,
) -> Response:
    name = form.get("name", "").strip()
    body: dict[str, Any] = {
        "value": form.get("value", "").replace("\r\n", "\n"),  # as browsers send the lines of a field
        "secret": "secret" in form,
        "scopes": form.getlist("scopes"),
    }
    try:
        await changes.set_variable(services, manifest and manifest.project, name, body, caller)
    except BadRequest as error:
        return await _render(request, services, manifest, form=form, error=error)
    return _redirect(manifest, done="set", name=name)


async def _render(
    request: Request,
    services: Services,
    manifest: Manifest | None,
    *,
    form: ImmutableMultiDict[str, str] | None = None,
    error: CallboardError | None = None,
) -> Response:
    listed = await changes.list_variables(services, manifest and manifest.project)
    values: Mapping[str, str] = {} if form is None else form
    return render_page(
        request,
        "env-vars.html",
        {"envVars": [each.model_dump(mode="json", by_alias=True) for each in listed]},
        status=200 if error is None else error.status,
        manifest=manifest,
        here=_address(manifest),
        of_project=manifest is not None,
        scopes=[scope.value for scope in VariableScope],
        values={"name": values.get("name", "")},  # the value may be a secret, and is not shown again
        is_secret=form is None or "secret" in form,
        chosen=[VariableScope.seen_in(services.settings.environment).value] if form is None else form.getlist("scopes"),
        errors={} if error is None else errors_by_path(error),
        message=None if error is None else error.message,
        done=request.query_params.get("done"),
        done_name=request.query_params.get("name", ""),
    )


def _redirect(manifest: Manifest | None, **query: str) -> Response:
    return RedirectResponse(f"{_address(manifest)}?{urlencode(query)}", 303)


def _address(manifest: Manifest | None) -> str:
    return "/env-vars" if manifest is None else f"/projects/{quote(manifest.project, safe='')}/env-vars"
