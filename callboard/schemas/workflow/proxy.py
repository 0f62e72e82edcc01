"""A proxy as it is stored in histories, with sealed credentials."""

from __future__ import annotations

from callboard.schemas.mask import MASK
from callboard.schemas.workflow.base import FlowModel

_OF_AUTH_SESSION = "auth-session/"


class SealedProxy(FlowModel):
    """A proxy whose credentials are sealed. `server` holds scheme, host and port only."""

    server: str
    username: str | None = None
    """Username, sealed."""
    password: str | None = None
    """Password, sealed."""
    owner: str | None = None
    """Owner that the seals are bound to, in addition to workspace and project; None for the id of the Run that
    carries them."""

    @property
    def belongs_to_auth_session(self) -> bool:
        """Whether it is the own proxy of an AuthSession."""
        return self.owner is not None and self.owner.startswith(_OF_AUTH_SESSION)

    @property
    def masked_url(self) -> str:
        """The URL of the proxy with its credentials masked."""
        scheme, _, host = self.server.partition("://")
        return self.server if self.username is None else f"{scheme}://{MASK}@{host}"


def owned_by_auth_session(owner: str) -> str:
    """Return the `SealedProxy.owner` of a proxy that belongs to an AuthSession, also in the input of a Run."""
    return f"{_OF_AUTH_SESSION}{owner}"


def owned_by_job(job_id: str) -> str:
    """Return the `SealedProxy.owner` of a proxy that belongs to a Job, also in the input of a Run."""
    return f"job/{job_id}"
