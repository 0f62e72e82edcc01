"""The calls about environment variables of a project and of the workspace (docs/contract.md, section 19)."""

from __future__ import annotations

from fastapi import Request
from starlette.responses import Response

from api.dependencies import ServicesDep
from api.env_vars import changes
from api.http.access import CallerDep, requires
from api.http.errors import error_responses
from api.http.json_body import read_json_object
from api.http.openapi import request_body
from api.http.workspace_router import workspace_router
from api.projects.lookup import ProjectDep
from schemas.errors import BadRequest, Forbidden, PayloadTooLarge
from schemas.rest.access import Scope
from schemas.rest.env_vars import SetVariable, VariableBody, VariableList

_TAG = "Environment variables"
_SETTING = error_responses(BadRequest, PayloadTooLarge)


_of_project = workspace_router("/{projectName}/env-vars", Forbidden, tag=_TAG)
_of_workspace = workspace_router("/env-vars", Forbidden, tag=_TAG, below="")
routers = (_of_project, _of_workspace)

_READING = requires(Scope.ENV_VARS)
_SET = requires(Scope.ENV_VARS, "env-var.set")
_DELETE = requires(Scope.ENV_VARS, "env-var.delete")


@_of_project.get("", dependencies=[_READING], summary="List a project's environment variables")
async def list_of_project(services: ServicesDep, manifest: ProjectDep) -> VariableList:
    """List the project's own variables, without the values of secrets."""
    return VariableList(env_vars=await changes.list_variables(services, manifest.project))


@_of_project.get("/{name}", dependencies=[_READING], summary="Get an environment variable of a project")
async def get_of_project(services: ServicesDep, manifest: ProjectDep, name: str) -> VariableBody:
    """Get a variable of the project, without its value if it is a secret."""
    return await changes.get_variable(services, manifest.project, name)


@_of_project.put(
    "/{name}",
    dependencies=[_SET],
    summary="Set an environment variable of a project",
    openapi_extra=request_body(SetVariable),
    responses=_SETTING,
)
async def set_of_project(
    request: Request, services: ServicesDep, manifest: ProjectDep, name: str, caller: CallerDep
) -> VariableBody:
    """Set a variable of the project. It has effect from the next Attempt on."""
    return await changes.set_variable(services, manifest.project, name, await read_json_object(request), caller)


@_of_project.delete(
    "/{name}",
    dependencies=[_DELETE],
    status_code=204,
    summary="Delete an environment variable of a project",
    response_class=Response,
)
async def delete_of_project(services: ServicesDep, manifest: ProjectDep, name: str) -> None:
    """Delete a variable of the project. Attempts do not have it from the next one on."""
    await changes.delete_variable(services, manifest.project, name)


@_of_workspace.get("", dependencies=[_READING], summary="List the workspace's environment variables")
async def list_of_workspace(services: ServicesDep) -> VariableList:
    """List the variables that all projects have, without the values of secrets."""
    return VariableList(env_vars=await changes.list_variables(services, None))


@_of_workspace.get("/{name}", dependencies=[_READING], summary="Get an environment variable of the workspace")
async def get_of_workspace(services: ServicesDep, name: str) -> VariableBody:
    """Get a variable of the workspace, without its value if it is a secret."""
    return await changes.get_variable(services, None, name)


@_of_workspace.put(
    "/{name}",
    dependencies=[_SET],
    summary="Set an environment variable of the workspace",
    openapi_extra=request_body(SetVariable),
    responses=_SETTING,
)
async def set_of_workspace(request: Request, services: ServicesDep, name: str, caller: CallerDep) -> VariableBody:
    """Set a variable that all projects have, unless they have one of that name themselves."""
    return await changes.set_variable(services, None, name, await read_json_object(request), caller)


@_of_workspace.delete(
    "/{name}",
    dependencies=[_DELETE],
    status_code=204,
    summary="Delete an environment variable of the workspace",
    response_class=Response,
)
async def delete_of_workspace(services: ServicesDep, name: str) -> None:
    """Delete a variable of the workspace."""
    await changes.delete_variable(services, None, name)
