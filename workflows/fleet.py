"""The workflow `Fleet`: the one writer of who may have how many Machines of which project.

Each worker asks for its lease every few seconds. What a worker holds counts until it says that it holds less, or until
its lease has run out for certain; only then another one is given it. So the workers together never execute more
Attempts of a project than it may have Machines, except after a deploy that makes these fewer: what runs may end.

The workflow has no timer: what time has done is looked at when a worker asks.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from schemas.workflow import names
    from schemas.workflow.fleet import (
        LEASE_MARGIN,
        LEASE_TERM,
        FleetInput,
        FleetState,
        LeaveRequest,
        MemberState,
        ProjectSize,
        RenewAnswer,
        RenewRequest,
        smallest_limit,
    )
    from workflows.allocation import Member, allocate, limit_sizes

RENEW_INTERVAL = timedelta(seconds=5)
"""Time between two requests of a worker."""
WAITING_INTERVAL = timedelta(seconds=1)
"""The same for a worker that is about to be given what another one still holds."""
STALE = "StaleRenewal"
"""Type of the error of a request that came late: the worker has sent another one, or has left."""


def limited_sizes(projects: Mapping[str, ProjectSize], members: Mapping[str, MemberState]) -> dict[str, int]:
    """Return how many Machines each project may have: fewer than deployed if all of them together are too many."""
    by_deploy = sorted(projects.items(), key=lambda item: (item[1].deployed_at, item[0]))
    return limit_sizes({project: size.machines for project, size in by_deploy}, smallest_limit(members.values()))


@workflow.defn(name=names.FLEET)
class FleetWorkflow:
    """The leases of all workers of a namespace."""

    @workflow.init
    def __init__(self, input: FleetInput) -> None:
        self._members = dict(input.state.members)
        self._projects = dict(input.state.projects)
        self._left = dict(input.state.left)
        self._settled_at = input.state.settled_at
        if input.successor:
            self._settled_at = workflow.now() + LEASE_TERM + LEASE_MARGIN

    @workflow.run
    async def run(self, _input: FleetInput) -> None:
        """Answer workers for as long as there are any; continue as new when the history becomes long."""
        await workflow.wait_condition(lambda: workflow.info().is_continue_as_new_suggested())
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(FleetInput(state=self.state()))

    @workflow.query(name=names.FLEET_STATE)
    def state(self) -> FleetState:
        """Return who holds what."""
        return FleetState(members=self._members, projects=self._projects, left=self._left, settled_at=self._settled_at)

    @workflow.update(name=names.RENEW_LEASE)
    def renew(self, request: RenewRequest) -> RenewAnswer:
        """Note what a worker holds, and answer with its lease.

        Raises:
            ApplicationError: Of type `StaleRenewal`: the worker has sent a later request, or has left.
        """
        now = workflow.now()
        self._forget_silent(now)
        before = self._members.get(request.worker)
        if request.worker in self._left or (before is not None and request.number <= before.number):
            raise ApplicationError(f"Request {request.number} of {request.worker} came late.", type=STALE)
        if before is None and request.projects is None:
            return self._answer({}, known=False, next_within=timedelta())
        projects = before.projects if before is not None else ()
        if request.projects is not None:
            projects = tuple(sorted(request.projects))
            self._note_sizes(request.projects)
        member = MemberState(
            host=request.host,
            number=request.number,
            capacity=request.capacity,
            most_per_project=request.most_per_project,
            max_machines=request.max_machines,
            projects=projects,
            plan=before.plan if before is not None else request.held,
            held=request.held,
            used=request.used,
            leaving=request.leaving,
            expires_at=now + LEASE_TERM + LEASE_MARGIN,
        )
        self._members[request.worker] = member
        self._forget_projects()
        self._plan()
        plan = self._members[request.worker].plan
        shares = self._grant(request.worker, now)
        self._members[request.worker] = self._members[request.worker].model_copy(update={"shares": shares})
        self._describe()
        waits = any(share > shares.get(project, 0) for project, share in plan.items())
        return self._answer(shares, next_within=WAITING_INTERVAL if waits else RENEW_INTERVAL)

    @workflow.update(name=names.LEAVE_FLEET)
    def leave(self, request: LeaveRequest) -> None:
        """Give what these workers hold to others at once. They have no Machine any more, and do not come back."""
        now = workflow.now()
        self._forget_silent(now)
        for worker in request.workers:
            self._members.pop(worker, None)
            self._left[worker] = now + LEASE_TERM
        self._forget_projects()
        self._describe()

    def _answer(self, shares: dict[str, int], *, next_within: timedelta, known: bool = True) -> RenewAnswer:
        return RenewAnswer(known=known, shares=shares, term=LEASE_TERM, next_within=next_within)

    def _forget_silent(self, now: datetime) -> None:
        """Forget workers whose leases have run out for certain."""
        self._members = {name: member for name, member in self._members.items() if member.expires_at > now}
        self._left = {name: until for name, until in self._left.items() if until > now}

    def _note_sizes(self, projects: dict[str, ProjectSize]) -> None:
        """Note the sizes of the projects, but for those that another worker knows better."""
        for project, size in projects.items():
            known = self._projects.get(project)
            if (
                known is None
                or size.deployed_at >= known.deployed_at
                or (size.replaces is not None and size.replaces >= known.deployed_at)
            ):
                self._projects[project] = size

    def _forget_projects(self) -> None:
        """Forget projects that no worker serves any more, and of which none holds a Machine."""
        served = {project for member in self._members.values() for project in (*member.projects, *member.held)}
        self._projects = {project: size for project, size in self._projects.items() if project in served}

    def _plan(self) -> None:
        planned = allocate(
            limited_sizes(self._projects, self._members),
            {
                name: Member(
                    capacity=member.capacity,
                    projects=frozenset(member.projects),
                    most_per_project=member.most_per_project,
                    shares=member.plan,
                    used=member.used,
                )
                for name, member in self._members.items()
                if not member.leaving
            },
        )
        for name, member in self._members.items():
            plan = planned.get(name, {})
            if plan != member.plan:
                self._members[name] = member.model_copy(update={"plan": plan})

    def _grant(self, worker: str, now: datetime) -> dict[str, int]:
        """Return how much of its plan the worker may have now: nothing that is still in use beyond what may be."""
        member = self._members[worker]
        others = [other for name, other in self._members.items() if name != worker]
        sizes, limit = limited_sizes(self._projects, self._members), smallest_limit(self._members.values())
        room = None
        if limit is not None:
            room = limit - sum(other.counted_in_all() for other in others) - sum(member.held.values())
        shares: dict[str, int] = {}
        for project, planned in member.plan.items():
            held = member.held.get(project, 0)
            free = sizes[project] - sum(other.counted(project) for other in others)
            if self._settled_at is not None and now < self._settled_at:
                free = min(free, held)
            share = min(planned, free)
            if room is not None:
                share = min(share, held + max(0, room))
                room -= max(0, share - held)
            if share > 0:
                shares[project] = share
        return shares

    def _describe(self) -> None:
        """Say who holds what, for the reader of the Temporal Web UI."""
        workflow.set_current_details(f"{len(self._members)} worker(s), {len(self._projects)} project(s)")
