"""What workers and the workflow `Fleet` tell each other: who may have how many Machines of which project."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from callboard.schemas.workflow.base import FlowModel

LEASE_TERM = timedelta(seconds=30)
"""How long a lease lasts. A worker counts from the moment at which it sent the request."""
LEASE_MARGIN = timedelta(seconds=5)
"""Time beyond the term before the workflow gives the Machines of a silent worker to others. Within it, keepers end
their Machines; it also covers clocks of different speeds."""


class ProjectSize(FlowModel):
    """How many Machines a project may have over all workers, as one of its deploys says."""

    machines: int
    deployed_at: AwareDatetime
    """Time of the deploy, by the clock of whoever deployed."""
    replaces: AwareDatetime | None = None
    """Time of the deploy that the sender saw before this one: what it names is older, whatever the clocks say."""


Sizes = Mapping[str, ProjectSize]
"""All projects that a worker serves."""


def list_id(sizes: Sizes) -> str:
    """Return a name for such a list: workers that serve the same deploys of the same projects name it alike."""
    listed = [(name, size.machines, size.deployed_at.timestamp()) for name, size in sorted(sizes.items())]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:16]


def changes_between(before: Sizes, after: Sizes) -> dict[str, ProjectSize | None]:
    """Return what is to be changed in a list to make another one of it; None for a project that has gone."""
    gone = dict.fromkeys(before.keys() - after.keys())
    return gone | {project: size for project, size in after.items() if size != before.get(project)}


class RenewRequest(FlowModel):
    """Update of the workflow `Fleet`: a worker asks for its lease, or for a longer one, and says what is new."""

    worker: str
    host: str = ""
    number: int
    """Number of the request, counted by the worker. A later request has a larger number, and an answer to an earlier
    one is never used any more."""
    capacity: int
    """How many Machines the worker can have at once, over all projects."""
    most_per_project: int | None = None
    """How many Machines of one project the worker may have (`--machines`); None for any number."""
    max_machines: int | None = None
    """How many Machines all projects may have together, over all workers, as this worker was told; None for any
    number."""
    serves: str
    """Name of the list of the projects that the worker serves, by `list_id`."""
    base: str | None = None
    """Name of a list that this worker or another one has told; None if `changes` has all projects."""
    changes: dict[str, ProjectSize | None] = Field(default_factory=dict[str, ProjectSize | None])
    """What makes `serves` of `base`."""
    held: dict[str, int] | None = None
    """How many Machines of each project execute Attempts at most, from the moment of sending on until an answer; None
    if it is what the worker's last request says, which was answered."""
    used: dict[str, int]
    """How many Attempts of each project the worker has accepted; some may wait for a Machine."""
    busy: dict[str, int] | None = None
    """How many Machines of each project execute an Attempt; None as for `held`."""
    warm: dict[str, int] | None = None
    """How many Machines of each project are up without an Attempt; None as for `held`."""
    isolation: str = ""
    """How far the worker's Machines are isolated: `full`, `open` or `none`."""
    leaving: bool = False
    """Whether the worker takes no Attempt any more."""

    def without_known(self, last: RenewRequest | None) -> RenewRequest:
        """Return this request without those numbers that the last one says, too, if that one was answered."""
        if last is None:
            return self
        numbers = {"held", "busy", "warm"}
        before, now = last.model_dump(include=numbers), self.model_dump(include=numbers)
        return self.model_copy(update={name: None for name in numbers if before[name] == now[name]})


class RenewAnswer(FlowModel):
    """Result of the update: the worker's lease."""

    shares: dict[str, int] | None
    """How many Machines of each project the worker may have; None if they are those of its last answer. Where it holds
    more, it takes no further Attempt, and the others do not count these Machines as theirs until it says that it holds
    fewer."""
    term: timedelta
    """How long the lease lasts, counted from the sending of the request."""
    next_within: timedelta
    """When the worker should ask again at the latest."""
    spread: timedelta
    """Time over which requests are to be spread, by chance, that all workers send for the same reason."""


class LeaveRequest(FlowModel):
    """Update of the workflow `Fleet`: these workers have no Machine any more."""

    workers: tuple[str, ...]


class MemberState(FlowModel):
    """One worker, as the workflow `Fleet` knows it."""

    host: str = ""
    number: int
    capacity: int
    most_per_project: int | None = None
    max_machines: int | None = None
    serves: str
    """Name of the list of its projects in `FleetState.lists`."""
    plan: dict[str, int] = Field(default_factory=dict[str, int])
    """Its shares once everybody has followed the plan."""
    shares: dict[str, int] = Field(default_factory=dict[str, int])
    """Its shares by the last answer."""
    granted_by: str = ""
    """Build id of the code that computed that answer."""
    held: dict[str, int] = Field(default_factory=dict[str, int])
    used: dict[str, int] = Field(default_factory=dict[str, int])
    busy: dict[str, int] = Field(default_factory=dict[str, int])
    warm: dict[str, int] = Field(default_factory=dict[str, int])
    isolation: str = ""
    leaving: bool = False
    expires_at: AwareDatetime
    """When its Machines are given to others, unless it asks again."""

    def counted(self) -> dict[str, int]:
        """Return how many Machines of each project the worker may be using, in the order of the projects' names."""
        return {
            project: max(self.shares.get(project, 0), self.held.get(project, 0))
            for project in sorted(self.shares.keys() | self.held.keys())
        }


def smallest_limit(members: Iterable[MemberState]) -> int | None:
    """Return how many Machines all projects may have together: the smallest number that a worker was told."""
    return min((member.max_machines for member in members if member.max_machines is not None), default=None)


class FleetState(FlowModel):
    """All workers and projects, as the workflow `Fleet` knows them."""

    members: dict[str, MemberState] = Field(default_factory=dict[str, MemberState])
    projects: dict[str, ProjectSize] = Field(default_factory=dict[str, ProjectSize])
    left: dict[str, AwareDatetime] = Field(default_factory=dict[str, AwareDatetime])
    """Workers that have left, with the time until which a late request of theirs is refused."""
    settled_at: datetime | None = None
    """Time before which nobody gets more than it holds already, as an earlier `Fleet` was ended by somebody: workers
    may have leases of it."""
    lists: dict[str, tuple[str, ...]] = Field(default_factory=dict[str, tuple[str, ...]])
    """The projects that workers serve, by the names of such lists: most workers serve the same."""


class FleetInput(FlowModel):
    """Input of the workflow `Fleet`."""

    state: FleetState = FleetState()
    """What the execution before has handed over."""
    successor: bool = False
    """Whether an earlier `Fleet` was ended by somebody, so that unknown workers may have leases."""
