"""Who calls, and what they may do: the owner of the key that a request or a session of the pages came with."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from schemas.rest.access import Scope


@dataclass(frozen=True)
class Caller:
    """Who has sent a request: one key, with what it allows."""

    id: str
    """The visible id of the key."""
    name: str
    scopes: frozenset[Scope]
    projects: frozenset[str] | None = None
    """The projects that the key may see; None for all."""
    ends_at: datetime | None = None
    """The end of the key, in UTC; None if it has none."""

    def has(self, scope: Scope) -> bool:
        """Tell whether the key allows what needs this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, project: str) -> bool:
        """Tell whether the key may know of this project."""
        return self.projects is None or project in self.projects
