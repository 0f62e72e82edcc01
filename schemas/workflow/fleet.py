"""What workers and the workflow `Fleet` tell each other: who may have how many Machines of which project."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import AwareDatetime, Field

from schemas.workflow.base import FlowModel

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


class RenewRequest(FlowModel):
    """Update of the workflow `Fleet`: a worker asks for its lease, or for a longer one."""

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
    projects: dict[str, ProjectSize] | None = None
    """All projects that the worker serves; None if they are those of its last answered request."""
    held: dict[str, int]
    """How many Machines of each project execute Attempts at most, from the moment of sending on until an answer."""
    used: dict[str, int]
    """How many Attempts of each project the worker has accepted; some may wait for a Machine."""
    leaving: bool = False
    """Whether the worker takes no Attempt any more."""


class RenewAnswer(FlowModel):
    """Result of the update: the worker's lease."""

    known: bool = True
    """False: the workflow does not know the worker's projects, and waits for a request that names them."""
    shares: dict[str, int]
    """How many Machines of each project the worker may have. Where it holds more, it takes no further Attempt, and the
    others do not count these Machines as theirs until it says that it holds fewer."""
    term: timedelta
    """How long the lease lasts, counted from the sending of the request."""
    next_within: timedelta
    """When the worker should ask again."""


class KeepRequest(FlowModel):
    """Update of the workflow `Fleet`: a worker asks for a longer lease.

    All but `used` is as in its last `RenewRequest`, which was answered. Earlier versions of the workflow do not
    know this update, and refuse it.
    """

    worker: str
    number: int
    """Number of the request, which follows that of the worker's last one."""
    used: dict[str, int]
    """As in `RenewRequest`."""


class KeepAnswer(FlowModel):
    """Result of the update: the lease lasts for another term, and the shares stay as they are."""

    term: timedelta
    """As in `RenewAnswer`."""
    next_within: timedelta
    """As in `RenewAnswer`."""


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
    projects: tuple[str, ...]
    """The projects that it serves; empty in a `FleetState` with `served`."""
    serves: int | None = None
    """Where these projects are in `FleetState.served`."""
    plan: dict[str, int] = Field(default_factory=dict[str, int])
    """Its shares once everybody has followed the plan."""
    shares: dict[str, int] = Field(default_factory=dict[str, int])
    """Its shares by the last answer."""
    granted_by: str = ""
    """Build id of the code that computed that answer."""
    held: dict[str, int] = Field(default_factory=dict[str, int])
    used: dict[str, int] = Field(default_factory=dict[str, int])
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
    served: tuple[tuple[str, ...], ...] | None = None
    """Lists of projects, each once, however many workers serve it; None if they stand with the workers."""

    def packed(self) -> FleetState:
        """Return the same with each list of projects once, for Temporal: most workers serve the same projects."""
        served = tuple({member.projects: None for member in self.members.values()})
        places = {projects: place for place, projects in enumerate(served)}
        members = {
            name: member.model_copy(update={"projects": (), "serves": places[member.projects]})
            for name, member in self.members.items()
        }
        return self.model_copy(update={"members": members, "served": served})

    def unpacked(self) -> FleetState:
        """Return the same with the projects of each worker at the worker."""
        if self.served is None:
            return self
        members = {
            name: member.model_copy(update={"projects": self.served[member.serves or 0], "serves": None})
            for name, member in self.members.items()
        }
        return self.model_copy(update={"members": members, "served": None})


class FleetInput(FlowModel):
    """Input of the workflow `Fleet`."""

    state: FleetState = FleetState()
    """What an execution of an earlier version has handed over. One of this version hands over `packed`, and says here
    only what keeps earlier versions safe: that they know of no worker, and that there may be leases."""
    packed: FleetState | None = None
    """What the execution before has handed over."""
    successor: bool = False
    """Whether an earlier `Fleet` was ended by somebody, so that unknown workers may have leases."""
