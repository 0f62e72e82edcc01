"""A proxy as it stands in histories: its credentials are sealed."""

from __future__ import annotations

from schemas.workflow.base import FlowModel


class SealedProxy(FlowModel):
    """A proxy whose credentials are sealed. `server` holds scheme, host and port only."""

    server: str
    username: str | None = None
    """Sealed."""
    password: str | None = None
    """Sealed."""
    owner: str | None = None
    """What the seals are bound to, beside workspace and project; None: the id of the Run that carries them."""


def owned_by_auth_session(owner: str) -> str:
    """`SealedProxy.owner` of a proxy that is an AuthSession's own, whoever carries it."""
    return f"auth-session/{owner}"
