"""What the calls about environment variables and the pages for them have in common: a secret is never answered.

`project` is None for the variables of the workspace.
"""

from __future__ import annotations

from typing import Any

from api.dependencies import Services
from api.http.json_body import validate_body
from projects.variables import Variable, Variables
from schemas.errors import NotFound
from schemas.rest.env_vars import SetVariable, VariableBody, check_variable_name, is_variable_name
from schemas.workflow.base import clip
from security.caller import Caller
from telemetry.log_context import add_log_fields


async def list_variables(services: Services, project: str | None) -> list[VariableBody]:
    """Return all variables, sorted by name. Raises StoreError, SealError, ConfigurationError."""
    return [_body(variable) for variable in await _variables(services).list(project)]


async def get_variable(services: Services, project: str | None, name: str) -> VariableBody:
    """Return a variable. Raises NotFound, and what `list_variables` raises."""
    found = await _variables(services).get(project, name) if is_variable_name(name) else None
    if found is None:
        raise _no_such_variable(name)
    return _body(found)


async def set_variable(
    services: Services, project: str | None, name: str, body: dict[str, Any], caller: Caller
) -> VariableBody:
    """Set a variable, and return it.

    Raises:
        BadRequest: The name or the body is wrong, or all variables together would be too large.
        StoreError, SealError, ConfigurationError: It cannot be kept.
    """
    check_variable_name(name)
    add_log_fields(variable=name)
    return _body(await _variables(services).set(project, name, validate_body(SetVariable, body), by=caller.id))


async def delete_variable(services: Services, project: str | None, name: str) -> None:
    """Delete a variable, also one that cannot be opened. Raises NotFound, StoreError."""
    if not is_variable_name(name) or not await _variables(services).delete(project, name):
        raise _no_such_variable(name)


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
