"""Who calls, and what they may do: the owner of the key that a request or a session of the pages came with."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

from callboard.schemas.rest.access import Scope
from callboard.schemas.workflow.actor import Actor


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

    @property
    def actor(self) -> Actor:
        """Who this is for those who see what the caller has started or canceled."""
        return Actor(id=self.id, name=self.name)

    def has(self, scope: Scope) -> bool:
        """Tell whether the key allows what needs this scope."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def sees(self, project: str) -> bool:
        """Tell whether the key may know of this project."""
        return self.projects is None or project in self.projects

    def sees_all(self, projects: Collection[str] | None) -> bool:
        """Tell whether the key may know of these projects; None stands for all, also for those to come."""
        return self.projects is None or (projects is not None and self.projects.issuperset(projects))

    def outlives(self, end: datetime | None) -> bool:
        """Tell whether the key is good until then; None stands for ever."""
        return self.ends_at is None or (end is not None and end <= self.ends_at)

    def covers(self, other: Caller) -> bool:
        """Tell whether this key allows all that the other one does, and for as long."""
        return (
            all(self.has(scope) for scope in other.scopes)
            and self.sees_all(other.projects)
            and self.outlives(other.ends_at)
        )
