"""What each route needs: scopes of the caller's key, and that the key may see the project of the path.

Every route says it by `requires`. docs/contract.md, section 5.3, lists the calls, and docs/pages.md lists the pages.
The check also notes what the audit will say of the request, which `api.http.audit` records.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Annotated, Any, cast

from fastapi import Depends, Request, params
from fastapi.routing import APIRoute

from callboard.schemas.errors import Forbidden, NotFound
from callboard.schemas.rest.access import Scope
from callboard.schemas.workflow.base import clip
from callboard.security.apikeys import Caller


@dataclass
class AuditNote:
    """What is known of a request for the audit so far."""

    action: str | None = None
    """What the route would change, or has changed."""
    missing_scope: str | None = None
    """The scope that the route needs and the caller does not have."""
    is_project_hidden: bool = False
    """Whether the caller may not see the project."""
    claimed_id: str | None = None
    """The id that the key of the request claims, or `unknown`: the key may be wrong."""


def audit_note(scope: MutableMapping[str, Any]) -> AuditNote:
    """Return the note of a request by its ASGI scope; there is one for each request."""
    return cast("AuditNote", scope.setdefault("state", {}).setdefault("audit", AuditNote()))


@dataclass(frozen=True)
class Requirement:
    """What a route needs, as a dependency that comes before the route looks at the body."""

    scopes: tuple[Scope, ...]
    """All of these."""
    action: str | None
    """What the route changes, as the audit calls it. None: nothing."""
    instead: Scope | None = None
    """A scope that opens the route in place of these. The route itself then looks what it may show."""
    of_seen_projects: bool = False
    """Whether a route whose path names no project keeps to the projects that the key may see. Any other one is about
    the whole workspace, and refuses keys that may see some projects only."""

    async def __call__(self, request: Request) -> None:
        """Return normally if the caller may use the route; raise otherwise.

        Raises:
            NotFound: The key may not see the project of the path, whether there is one or not.
            Forbidden: The key lacks a scope, or may see some projects only.
        """
        caller = caller_of(request)
        note = audit_note(request.scope)
        note.action = self.action
        project = request.path_params.get("projectName")
        if project is not None and not caller.sees(project):
            note.is_project_hidden = True
            raise no_such_project(project)
        for scope in self.scopes:
            if not caller.has(scope) and (self.instead is None or not caller.has(self.instead)):
                note.missing_scope = scope.value
                raise lacks_scope(scope, f"This needs the scope {scope.value}, which your key does not have.")
        if project is None and not self.of_seen_projects and caller.projects is not None:
            scope = self.scopes[0]
            note.missing_scope = scope.value
            raise lacks_scope(
                scope,
                f"This needs the scope {scope.value} for all projects, and your key is for some of them only.",
            )


def requires(
    scope: Scope,
    action: str | None = None,
    *,
    also: Scope | None = None,
    instead: Scope | None = None,
    of_seen_projects: bool = False,
) -> params.Depends:
    """Return the dependency of a route that needs `scope`, and changes what `action` says (see `Requirement`).

    Args:
        scope: The scope that the route needs.
        action: What it changes.
        also: Another scope that it needs.
        instead: See `Requirement`.
        of_seen_projects: See `Requirement`.
    """
    scopes = (scope,) if also is None else (scope, also)
    return cast("params.Depends", Depends(Requirement(scopes, action, instead, of_seen_projects)))


def requirement_of(route: APIRoute) -> Requirement | None:
    """Return what a route needs; None if every key may use it, or if it needs none."""
    return next((each.call for each in route.dependant.dependencies if isinstance(each.call, Requirement)), None)


def lacks_scope(scope: Scope, message: str) -> Forbidden:
    """Return the error for a caller whose key does not have this scope, or not for all projects."""
    return Forbidden(message, details={"scope": scope.value})


def caller_of(request: Request) -> Caller:
    """Return who has sent the request, whose key was checked before."""
    return cast("Caller", request.state.caller)


def no_such_project(name: str, hint: str = "") -> NotFound:
    """Return the error for a project that does not exist or that the caller may not see, which look the same."""
    return NotFound(f"There is no project {clip(name, 100)!r} deployed here.{hint}")


async def _caller(request: Request) -> Caller:
    return caller_of(request)  # FastAPI would call a function that is not async in another thread, and wait for that.


CallerDep = Annotated[Caller, Depends(_caller)]
"""Who has sent the request."""
