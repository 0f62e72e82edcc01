"""Lookup of the AuthSession that a request names."""

from __future__ import annotations

from api.dependencies import Services
from schemas.errors import Conflict, NotFound
from schemas.rest.run_auth_session import is_auth_session_id
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.base import clip


async def require_auth_session(
    services: Services, project: str, auth_session_id: str, path: str | None = None
) -> AuthSessionView:
    """Return the project's AuthSession with this id.

    Args:
        services: The services of the request.
        project: The name of the project.
        auth_session_id: The id as the request has it.
        path: The path of the body's field that has the id; None if the id is part of the URL.

    Raises:
        NotFound: There is no such AuthSession.
        Unavailable: Temporal does not answer.
    """
    # Other names are those of AuthSessions that live for a single Run, or of nothing at all.
    if is_auth_session_id(auth_session_id):
        try:
            return await services.auth_sessions.get(services.settings.workspace, project, auth_session_id)
        except NotFound:
            pass
    details = None if path is None else {"path": path}
    raise NotFound(f"Project {project} has no AuthSession {clip(auth_session_id, 100)!r}.", details=details)


async def require_changeable_auth_session(services: Services, project: str, auth_session_id: str) -> AuthSessionView:
    """Return the project's AuthSession with this id, which requests may change and delete.

    Raises:
        NotFound: There is no such AuthSession.
        Conflict: It is a file of the project.
        Unavailable: Temporal does not answer.
    """
    view = await require_auth_session(services, project, auth_session_id)
    if view.from_file:
        raise Conflict(
            f"AuthSession {view.id} is a file of project {project}. Edit the file, or remove it, and deploy the "
            "project."
        )
    return view
