"""AuthSessions that requests name: their lookup, and what the contract says of them."""

from __future__ import annotations

from api.dependencies import Services
from schemas.errors import Conflict, NotFound
from schemas.rest.auth_sessions import AuthSessionBody
from schemas.rest.run_auth_session import is_auth_session_id
from schemas.workflow.auth import AuthSessionStatus, AuthSessionType
from schemas.workflow.auth_session import AuthSessionView
from schemas.workflow.base import clip


async def find_auth_session(services: Services, project: str, auth_session_id: str) -> AuthSessionView | None:
    """Return the project's AuthSession with this id, or None if there is none. Raises Unavailable."""
    try:
        return await services.auth_sessions.get(services.settings.workspace, project, auth_session_id)
    except NotFound:
        return None


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
    view = await find_auth_session(services, project, auth_session_id) if is_auth_session_id(auth_session_id) else None
    if view is not None:
        return view
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


def contract_auth_session(view: AuthSessionView) -> AuthSessionBody:
    """Return an AuthSession in words of the contract.

    A type that is not known becomes RECORDER, the type of a login that only its owner can make again. A status that is
    not known becomes EXPIRED, which promises no login.
    """
    return AuthSessionBody(
        id=view.id,
        type=view.type if view.type.is_known else AuthSessionType.RECORDER,
        status=view.status if view.status.is_known else AuthSessionStatus.EXPIRED,
    )
