"""What the parts of the api note of a request for the audit, while it is served; `api.http.audit` records it."""

from __future__ import annotations

from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any, cast


@dataclass
class AuditNote:
    """What is known so far."""

    action: str | None = None
    """What the route would change, or has changed."""
    missing_scope: str | None = None
    """The scope that the route needs and the caller does not have."""
    is_project_hidden: bool = False
    """Whether the caller may not see the project."""
    claimed_id: str | None = None
    """The id that the key of the request claims, or `unknown`: the key may be wrong."""
    runs: list[str] | None = None
    """The Runs that were changed, if the call changes several: each has an entry of its own."""


def audit_note(scope: MutableMapping[str, Any]) -> AuditNote:
    """Return the note of a request by its ASGI scope; there is one for each request."""
    return cast("AuditNote", scope.setdefault("state", {}).setdefault("audit", AuditNote()))
