"""Environment variables of a project and of the workspace: the calls (docs/contract.md, section 19), and their pages.

A secret is never answered. The variables of the workspace have the same calls and page as those of a project.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from starlette.responses import Response

from api.dashboard.auth import FormDep
from api.dashboard.page_route import page_router
from api.dashboard.rendering import redirect, render_page
from api.dependencies import Services, ServicesDep
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.lookup import require_project
from api.workspace_router import workspace_router
from callboard.projects.manifest import Manifest
from callboard.projects.variables import Variable, Variables
from callboard.schemas.errors import BadRequest, Forbidden, NotFound, PayloadTooLarge
from callboard.schemas.rest.access import Scope
from callboard.schemas.rest.env_vars import (
    SetVariable,
    VariableBody,
    VariableList,
    VariableScope,
    check_variable_name,
    is_variable_name,
)
from callboard.schemas.rest.json_text import validate_body
from callboard.schemas.workflow.base import clip
from callboard.telemetry.log_context import add_log_fields

_TAG = "Environment variables"
_READING = [requires(Scope.ENV_VARS)]
_SETTING = [requires(Scope.ENV_VARS, "env-var.set")]
_DELETING = [requires(Scope.ENV_VARS, "env-var.delete")]


async def _no_project() -> None:
    """Stand for the project where a call is about the workspace."""


def _add_calls(router: APIRouter, pages: APIRouter, owner: Callable[..., Any], place: str, whose: str) -> None:
    """Add the calls and the page of the variables of one place. The dependency `owner` gives its project, or None."""
    of_place: Any = Depends(owner)

    @router.get(
        "", dependencies=_READING, operation_id=f"list{place}EnvVars", summary=f"List {whose} environment variables"
    )
    async def list_all(services: ServicesDep, project: Manifest | None = of_place) -> VariableList:
        """List the variables of this place, without the values of secrets."""
        return VariableList(env_vars=[_body(each) for each in await _variables(services).list(_name_of(project))])

    @router.get(
        "/{name}",
        dependencies=_READING,
        operation_id=f"get{place}EnvVar",
        summary=f"Get one of {whose} environment variables",
    )
    async def get(services: ServicesDep, name: str, project: Manifest | None = of_place) -> VariableBody:
        """Get a variable, without its value if it is a secret."""
        found = await _variables(services).get(_name_of(project), name) if is_variable_name(name) else None
        if found is None:
            raise _no_such_variable(name)
        return _body(found)

    @router.put(
        "/{name}",
        dependencies=_SETTING,
        operation_id=f"set{place}EnvVar",
        summary=f"Set one of {whose} environment variables",
        openapi_extra=request_body(SetVariable),
        responses=error_responses(BadRequest, PayloadTooLarge),
    )
    async def set_by_json(
        request: Request, services: ServicesDep, name: str, caller: CallerDep, project: Manifest | None = of_place
    ) -> VariableBody:
        """Set a variable. It has effect from the next Attempt on. One of a project hides that of the workspace."""
        return await set_variable(services, project, name, await read_json_object(request), caller)

    async def set_variable(
        services: Services, project: Manifest | None, name: str, body: dict[str, Any], caller: CallerDep
    ) -> VariableBody:
        check_variable_name(name)
        add_log_fields(variable=name)
        if body.get("scopes") is None:
            body = {**body, "scopes": [VariableScope.seen_in(services.settings.environment)]}
        wanted = validate_body(SetVariable, body)
        return _body(await _variables(services).set(_name_of(project), name, wanted, by=caller.id))

    @router.delete(
        "/{name}",
        dependencies=_DELETING,
        status_code=204,
        operation_id=f"delete{place}EnvVar",
        summary=f"Delete one of {whose} environment variables",
        response_class=Response,
    )
    async def delete(services: ServicesDep, name: str, project: Manifest | None = of_place) -> None:
        """Delete a variable, also one that cannot be opened. Attempts do not have it from the next one on."""
        if not is_variable_name(name) or not await _variables(services).delete(_name_of(project), name):
            raise _no_such_variable(name)

    @pages.get("", dependencies=_READING)
    @pages.get(".json", dependencies=_READING)
    async def page(request: Request, services: ServicesDep, project: Manifest | None = of_place) -> Response:
        return await render(request, services, project)

    @pages.post("", dependencies=_SETTING)
    async def set_by_form(
        request: Request, services: ServicesDep, form: FormDep, caller: CallerDep, project: Manifest | None = of_place
    ) -> Response:
        name = form.get("name", "").strip()
        body = {
            "value": form.get("value", "").replace("\r\n", "\n"),  # as browsers send the lines of a field
            "secret": "secret" in form,
            "scopes": form.getlist("scopes"),
        }
        try:
            await set_variable(services, project, name, body, caller)
        except BadRequest as error:
            shown = {"values": {"name": name}, "is_secret": body["secret"], "chosen": body["scopes"]}
            return await render(request, services, project, error, **shown)  # the value may be a secret
        return redirect(_address(project), done="set", name=name)

    @pages.post("/{name}/delete", dependencies=_DELETING)
    async def delete_by_form(
        services: ServicesDep, _: FormDep, name: str, project: Manifest | None = of_place
    ) -> Response:
        await delete(services, name, project)
        return redirect(_address(project), done="delete", name=name)

    async def render(
        request: Request, services: Services, project: Manifest | None, error: BadRequest | None = None, **shown: Any
    ) -> Response:
        fresh: dict[str, Any] = {
            "values": {"name": ""},
            "is_secret": True,
            "chosen": [VariableScope.seen_in(services.settings.environment).value],
        }
        return render_page(
            request,
            "env-vars.html",
            (await list_all(services, project)).model_dump(mode="json", by_alias=True),
            error=error,
            manifest=project,
            here=_address(project),
            of_project=project is not None,
            scopes=[scope.value for scope in VariableScope],
            **fresh | shown,
        )


def _name_of(project: Manifest | None) -> str | None:
    return None if project is None else project.project


def _address(project: Manifest | None) -> str:
    return "/env-vars" if project is None else f"/projects/{quote(project.project, safe='')}/env-vars"


def _variables(services: Services) -> Variables:
    return Variables(services.settings.workspace, services.store, services.ring)


def _body(variable: Variable) -> VariableBody:
    return VariableBody(
        name=variable.name,
        secret=variable.secret,
        scopes=list(variable.scopes),
        value=None if variable.secret else variable.value,
        updated_at=variable.updated_at,
        updated_by=variable.updated_by,
    )


def _no_such_variable(name: str) -> NotFound:
    return NotFound(f"There is no environment variable {clip(name, 100)!r} here.")


_of_project = workspace_router("/{projectName}/env-vars", Forbidden, tag=_TAG)
_of_workspace = workspace_router("/env-vars", Forbidden, tag=_TAG, below="")
_pages_of_project, _pages_of_workspace = page_router("/projects/{projectName}/env-vars"), page_router("/env-vars")
routers = (_of_project, _of_workspace, _pages_of_project, _pages_of_workspace)
_add_calls(_of_project, _pages_of_project, require_project, "Project", "a project's")
_add_calls(_of_workspace, _pages_of_workspace, _no_project, "Workspace", "the workspace's")
