"""Name those to whom codes are sent, without telling who they are: a phone number may be secret."""

from __future__ import annotations

from callboard.security import seal_context
from callboard.security.keyring import KeyRing


def addressee(ring: KeyRing, workspace: str, project: str, code_to: str) -> str:
    """Return the keyed hash of an addressee. Spaces around it, and upper or lower case, make no difference.

    Raises:
        ConfigurationError: The ring is empty.
    """
    name = code_to.strip().casefold().encode()
    return ring.lasting_fingerprint(name, bound_to=seal_context.addressees(workspace, project))
