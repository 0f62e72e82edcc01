"""Compute from the workflow `Fleet` what people are shown: who holds which Machines, and which ones are missing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from callboard.schemas.errors import Unavailable
from callboard.schemas.rest.fleet import Fleet, FleetProject, FleetWorker, MissingReason
from callboard.schemas.workflow.fleet import FleetState, MemberState, smallest_limit
from callboard.temporal.fleet import FleetClient
from workflows.fleet import limited_sizes

_MAX_AGE = 1.0
"""Seconds for which an answer is used. A worker has to compute each, and it is as old as the last renewals anyway."""
_MAX_FAILURE_AGE = 5.0
"""The same for a failure: while no worker answers, pages wait for it only now and then."""
_TIMEOUT = timedelta(seconds=3)
"""How long a page waits for a worker. Those that can answer do so within milliseconds."""
_EXPLANATIONS = {
    MissingReason.NO_WORKER: "no worker of the role all or browser is there",
    MissingReason.NOT_SERVED: "no worker serves it",
    MissingReason.LIMIT: "the projects may have no more together",
    MissingReason.NO_ROOM: "its workers have no room for more",
    MissingReason.ON_THE_WAY: "a worker is about to get what is missing",
}
_LEVELS = ("", "full", "open", "none")
"""Levels of isolation, each with fewer walls than the one before. It is the first one if a worker has told none."""


class FleetReader:
    """What the workflow `Fleet` knows, as of a second ago at most."""

    def __init__(self, fleet: FleetClient) -> None:
        self._fleet = fleet
        self._answer: FleetState | Unavailable | None = None
        self._fresh_until = 0.0
        """By the monotonic clock."""
        self._lock = asyncio.Lock()

    async def read(self, deployed: Mapping[str, int]) -> Fleet:
        """Return who holds what, given how many Machines each deployed project may have.

        Numbers of busy and warm Machines are those of the workers' last renewals. Raises Unavailable if no worker has
        answered.
        """
        return describe_fleet(await self._read_state(), datetime.now(UTC), deployed)

    async def _read_state(self) -> FleetState:
        async with self._lock:
            if self._answer is None or time.monotonic() >= self._fresh_until:
                try:
                    self._answer, age = await self._fleet.read_state(_TIMEOUT), _MAX_AGE
                except Unavailable as error:
                    self._answer, age = error, _MAX_FAILURE_AGE
                self._fresh_until = time.monotonic() + age
            answer = self._answer
        if isinstance(answer, Unavailable):
            raise Unavailable(answer.message)
        return answer


def describe_fleet(state: FleetState, now: datetime, deployed: Mapping[str, int]) -> Fleet:
    """Return who holds what, and what is missing.

    Args:
        state: What the workflow knows.
        now: Workers whose leases have run out by then do not count.
        deployed: How many Machines each deployed project may have.
    """
    live = {name: member for name, member in sorted(state.members.items()) if member.expires_at > now}
    allowed = limited_sizes(state.projects, live)
    is_planned = len(live) == len(state.members)  # else the workflow plans anew when the next worker asks
    counted = {name: {p: count for p, count in member.counted().items() if count > 0} for name, member in live.items()}
    staying = [(member, frozenset(state.lists[member.serves])) for member in live.values() if not member.leaving]

    def describe_project(project: str, machines: int) -> FleetProject:
        workers = {name: held[project] for name, held in counted.items() if project in held}
        held = sum(workers.values())
        size = state.projects.get(project)
        reason = None
        if held < machines:
            reason = _missing_reason(
                project,
                machines,
                held,
                staying,
                limited=allowed.get(project, 0),
                is_planned=is_planned and size is not None and size.machines == machines,
            )
        missing = max(0, machines - held)
        return FleetProject(
            project=project,
            machines=machines,
            held=held,
            workers=workers,
            missing=missing,
            reason=reason,
            message=None if reason is None else f"{missing} of {machines}: {_EXPLANATIONS[reason]}",
            busy=sum(member.busy.get(project, 0) for member in live.values()),
            warm=sum(member.warm.get(project, 0) for member in live.values()),
            isolation=max((live[name].isolation for name in workers), key=_openness, default="") or None,
        )

    return Fleet(
        limit=smallest_limit(live.values()),
        workers=[_describe_worker(name, member, counted[name]) for name, member in live.items()],
        projects=[describe_project(project, machines) for project, machines in sorted(deployed.items())],
    )


def _describe_worker(name: str, member: MemberState, projects: dict[str, int]) -> FleetWorker:
    return FleetWorker(
        worker=name,
        host=member.host,
        capacity=member.capacity,
        machines=sum(projects.values()),
        busy=sum(member.busy.values()),
        warm=sum(member.warm.values()),
        isolation=member.isolation or None,
        projects=projects,
        state="leaving" if member.leaving else "serving",
        max_machines=member.max_machines,
    )


def _openness(isolation: str) -> int:
    """Return a larger number for a level with fewer walls. A word of another version counts as none."""
    return _LEVELS.index(isolation) if isolation in _LEVELS else len(_LEVELS)


def _missing_reason(
    project: str,
    wanted: int,
    held: int,
    staying: Sequence[tuple[MemberState, frozenset[str]]],
    *,
    limited: int,
    is_planned: bool,
) -> MissingReason:
    """Return why a project has fewer Machines than it may have.

    Args:
        project: The project.
        wanted: How many Machines it may have.
        held: How many of them workers hold.
        staying: The workers whose leases go on and that are not leaving, each with the projects that it serves.
        limited: How many it may have beside the other projects.
        is_planned: Whether the workflow has planned with this number and with these workers.
    """
    serving = [member for member, projects in staying if project in projects]
    if not staying:
        return MissingReason.NO_WORKER
    if not serving:
        return MissingReason.NOT_SERVED
    if not is_planned or held < sum(member.plan.get(project, 0) for member in serving):
        return MissingReason.ON_THE_WAY
    return MissingReason.LIMIT if limited < wanted else MissingReason.NO_ROOM
