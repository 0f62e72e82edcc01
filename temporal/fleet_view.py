"""Who holds which Machines, and what is missing: what is shown of the workflow `Fleet`, and computed here alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum

from schemas.workflow.fleet import FleetState, MemberState, smallest_limit
from workflows.fleet import limited_sizes


class MissingReason(StrEnum):
    """Why a project has fewer Machines than it may have."""

    NO_WORKER = "no-worker"
    NOT_SERVED = "not-served"
    LIMIT = "limit"
    NO_ROOM = "no-room"
    ON_THE_WAY = "on-the-way"


_EXPLANATIONS = {
    MissingReason.NO_WORKER: "no worker of the role all or browser is there",
    MissingReason.NOT_SERVED: "no worker serves it",
    MissingReason.LIMIT: "the projects may have no more together",
    MissingReason.NO_ROOM: "its workers have no room for more",
    MissingReason.ON_THE_WAY: "a worker is about to get what is missing",
}


@dataclass(frozen=True)
class WorkerMachines:
    """The Machines that one worker holds."""

    worker: str
    host: str
    capacity: int
    projects: Mapping[str, int]
    """How many of each project it may be using."""
    leaving: bool
    limit: int | None
    """How many Machines all projects may have together, as this worker was told; None for any number."""

    @property
    def held(self) -> int:
        """How many it may be using, over all projects."""
        return sum(self.projects.values())


@dataclass(frozen=True)
class ProjectMachines:
    """The Machines of one project."""

    project: str
    wanted: int
    """How many it may have."""
    workers: Mapping[str, int]
    """How many of them each worker may be using."""
    reason: MissingReason | None = None
    """Why it has fewer; None if it has all of them."""

    @property
    def held(self) -> int:
        """How many of them workers may be using."""
        return sum(self.workers.values())

    @property
    def missing(self) -> int:
        """How many more it may have."""
        return max(0, self.wanted - self.held)

    @property
    def shortage(self) -> str | None:
        """What is missing and why, as a part of a sentence; None if nothing is missing."""
        return None if self.reason is None else f"{self.missing} of {self.wanted}: {_EXPLANATIONS[self.reason]}"


@dataclass(frozen=True)
class FleetView:
    """All workers that have Machines, and all projects, in the order of their names."""

    workers: tuple[WorkerMachines, ...]
    projects: Mapping[str, ProjectMachines]
    limit: int | None
    """How many Machines all projects may have together; None for any number."""


def describe_fleet(state: FleetState, now: datetime, deployed: Mapping[str, int] | None = None) -> FleetView:
    """Return who holds what, and what is missing.

    Args:
        state: What the workflow knows.
        now: Workers whose leases have run out by then do not count.
        deployed: How many Machines each deployed project may have, if that is known. Else the workflow's own numbers
            count; it does not know a project that no worker serves.
    """
    live = {name: member for name, member in sorted(state.members.items()) if member.expires_at > now}
    known = {project: size.machines for project, size in state.projects.items()}
    limit = smallest_limit(live.values())
    wanted = known if deployed is None else deployed
    allowed = limited_sizes(state.projects, live)
    planned = len(live) == len(state.members)  # else the workflow plans anew when the next worker asks
    workers = tuple(
        WorkerMachines(
            worker=name,
            host=member.host,
            capacity=member.capacity,
            projects={project: count for project, count in member.counted().items() if count > 0},
            leaving=member.leaving,
            limit=member.max_machines,
        )
        for name, member in live.items()
    )
    served = {name: frozenset(projects) for name, projects in state.lists.items()}
    staying = [(member, served[member.serves]) for member in live.values() if not member.leaving]
    return FleetView(
        workers=workers,
        projects={
            project: _project_machines(
                ProjectMachines(project, count, _held(project, workers)),
                staying,
                limited=allowed.get(project, 0),
                is_planned=planned and known.get(project) == count,
            )
            for project, count in sorted(wanted.items())
        },
        limit=limit,
    )


def _held(project: str, workers: Sequence[WorkerMachines]) -> dict[str, int]:
    """Return how many Machines of the project each worker may be using."""
    return {worker.worker: worker.projects[project] for worker in workers if project in worker.projects}


def _project_machines(
    machines: ProjectMachines,
    staying: Sequence[tuple[MemberState, frozenset[str]]],
    *,
    limited: int,
    is_planned: bool,
) -> ProjectMachines:
    """Return the Machines of a project, with the reason why some are missing.

    Args:
        machines: The same without the reason.
        staying: The workers whose leases go on and that are not leaving, each with the projects that it serves.
        limited: How many it may have beside the other projects.
        is_planned: Whether the workflow has planned with this number and with these workers.
    """
    if machines.missing == 0:
        return machines
    serving = [member for member, projects in staying if machines.project in projects]
    if not staying:
        reason = MissingReason.NO_WORKER
    elif not serving:
        reason = MissingReason.NOT_SERVED
    elif not is_planned or machines.held < sum(member.plan.get(machines.project, 0) for member in serving):
        reason = MissingReason.ON_THE_WAY
    elif limited < machines.wanted:
        reason = MissingReason.LIMIT
    else:
        reason = MissingReason.NO_ROOM
    return replace(machines, reason=reason)
