"""Routers below the workspace's path: all their routes need an API key, and the workspace that is served here."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from fastapi import APIRouter, Depends, params

from api.dependencies import ServicesDep
from api.http.errors import error_responses
from callboard.schemas.errors import (
    CallboardError,
    Forbidden,
    InternalServerError,
    NotFound,
    TooMany,
    Unauthorized,
    Unavailable,
)


def workspace_router(
    path: str, *errors: type[CallboardError], tag: str, checks: Sequence[params.Depends] = (), below: str = "/projects"
) -> APIRouter:
    """Return a router for calls about the workspace's projects, or about the workspace itself.

    Args:
        path: The rest of the path, behind `…/projects`.
        errors: The errors that all its calls may answer, beside those that every call with a key may answer.
        tag: The heading of its calls in the OpenAPI page.
        checks: Dependencies that all its calls have, beside the key and the workspace.
        below: What stands before `path`, behind the workspace; empty for calls about the workspace itself.
    """
    return APIRouter(
        prefix=f"/api/v1/workspace/{{workspaceId}}{below}{path}",
        dependencies=[Depends(_require_workspace), *checks],
        responses=error_responses(
            *errors, Unauthorized, Forbidden, NotFound, TooMany, InternalServerError, Unavailable
        ),
        tags=[tag],
    )


async def _require_workspace(services: ServicesDep, workspaceId: str) -> None:
    """Raise NotFound unless the path names the workspace that is served here."""
    try:
        requested = UUID(workspaceId)
    except ValueError:
        requested = None
    if requested != services.settings.workspace_id:
        raise NotFound("There is no such workspace here. CALLBOARD_WORKSPACE_ID names the one of an installation.")
