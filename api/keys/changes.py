"""What the calls about keys and the page of keys have in common: nobody grants or sees more than his own key allows."""

from __future__ import annotations

from typing import Any

from api.dependencies import Services
from api.http.access import lacks_scope, no_such_project
from api.http.json_body import validate_body
from api.keys.stored_keys import ListedKey
from projects.project_settings import NAME_RULE, is_project_name
from schemas.errors import Forbidden, NotFound
from schemas.rest.access import KeyRef
from schemas.rest.field_errors import field_error
from schemas.rest.keys import CreateKey, KeyBody, KeyCreated
from schemas.timestamps import utc_text
from schemas.workflow.base import clip
from security.apikeys import is_key_id, key_prefix
from security.caller import Caller
from telemetry.log_context import add_log_fields


async def create_key(services: Services, caller: Caller, body: dict[str, Any]) -> KeyCreated:
    """Make a key.

    Raises:
        BadRequest: The body is wrong.
        Forbidden: The key would have a scope that the caller has not, all projects, or a later end.
        NotFound: The caller may not see one of the projects.
        Conflict: There are too many keys.
        StoreError: The store failed.
    """
    asked = validate_body(CreateKey, body)
    for index, project in enumerate(asked.projects or ()):
        if not is_project_name(project):
            raise field_error(f"projects[{index}]", f"the name of a project: {NAME_RULE}")
    granted = Caller(
        id="",
        name=asked.name,
        scopes=frozenset(asked.scopes),
        projects=None if asked.projects is None else frozenset(asked.projects),
        ends_at=asked.expires_at,
    )
    _require_grantable(caller, granted)
    listed, key = await services.stored_keys.create(granted, caller)
    add_log_fields(keyId=listed.id)
    return KeyCreated(**dict(_body(listed)), key=key)


async def list_keys(services: Services, caller: Caller) -> list[KeyBody]:
    """Return the keys that do not allow more than the caller's, the newest first. Raises StoreError."""
    listed = await services.stored_keys.list()
    return [_body(key) for key in listed if caller.covers(key.stored.caller(key.id))]


async def revoke_key(services: Services, caller: Caller, key_id: str) -> None:
    """Revoke a key.

    Raises:
        NotFound: There is no such key, or it allows more than the caller's.
        Unavailable, StoreError: The store failed.
    """
    known = await services.stored_keys.get(key_id)
    if known is None or not caller.covers(known):
        shown = key_id if is_key_id(key_id) else clip(key_id, 100)
        raise NotFound(f"There is no key with the id {shown!r}.")
    await services.stored_keys.revoke(key_id)


def _require_grantable(caller: Caller, granted: Caller) -> None:
    for scope in sorted(granted.scopes):
        if not caller.has(scope):
            raise lacks_scope(scope, f"Your key cannot give away the scope {scope.value}, which it does not have.")
    if not caller.sees_all(granted.projects):
        for project in sorted(granted.projects or ()):
            if not caller.sees(project):
                raise no_such_project(project)
        raise Forbidden("Your key is for some projects only, so it cannot make one for all. Name the projects.")
    if not caller.outlives(granted.ends_at) and caller.ends_at is not None:
        end = utc_text(caller.ends_at)
        raise Forbidden(f"Your key ends at {end}, so it cannot make one that is good for longer.")


def _body(key: ListedKey) -> KeyBody:
    stored = key.stored
    return KeyBody(
        id=key.id,
        prefix=key_prefix(key.id),
        name=stored.name,
        scopes=list(stored.scopes),
        projects=None if stored.projects is None else list(stored.projects),
        created_at=stored.created_at,
        created_by=KeyRef(id=stored.created_by, name=stored.created_by_name),
        expires_at=stored.expires_at,
        last_used_at=key.last_used_at,
    )
