"""The workflow `Fleet`: the one writer of who may have how many Machines of which project.

Each worker asks for its lease every few seconds. What a worker holds counts until it says that it holds less, or until
its lease has run out for certain; only then another one is given it. So the workers together never execute more
Attempts of a project than it may have Machines, except after a deploy that makes these fewer: what runs may end.

A request says what has changed since the worker's last one, which is nothing most of the time. If it refers to what
this workflow does not know, it is refused, and the worker says all.

The workflow has no timer: what time has done is looked at when a worker asks. It plans when something has changed,
once for all requests that come at the same time.

Another version of this code may have answered earlier requests of the same history differently, and a replay does not
show that. So each answer names the build that has given it (`granted_by`). As long as a worker has an answer of another
build, no worker gets more than it holds.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta

from temporalio import workflow
from temporalio.exceptions import ApplicationError

with workflow.unsafe.imports_passed_through():
    from callboard.schemas.workflow import names
    from callboard.schemas.workflow.fleet import (
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

RENEW_INTERVAL = timedelta(seconds=10)
"""Most time from a request of a worker until its next one: two of them may be lost before the lease ends."""
WAITING_INTERVAL = timedelta(seconds=1)
"""The same for a worker that is about to be given what another one still holds."""
SPREAD_PER_WORKER = timedelta(seconds=0.04)
"""Temporal takes ten updates of one workflow at once, and refuses the next one with all of them. So requests that all
workers send for the same reason come at 25 a second."""
MAX_SPREAD = timedelta(seconds=2)
"""The most time over which such requests are spread."""
LONG_HISTORY = 400
"""How many events a history has at most before the workflow continues as new: whoever takes it over replays all of
them, while leases go on."""
STALE = "StaleRenewal"
"""Type of the error of a request that came late: the worker has sent another one, or has left."""
UNKNOWN = "UnknownBase"
"""Type of the error of a request that refers to what this workflow does not know. The worker has to say all."""


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
        self._lists = dict(input.state.lists)
        self._left = dict(input.state.left)
        self._may_grow_from = self._all_leases_end() if input.successor else input.state.settled_at
        self._plan()

    @workflow.run
    async def run(self, _input: FleetInput) -> None:
        """Answer workers for as long as there are any; continue as new when the history becomes long."""
        info = workflow.info()
        await workflow.wait_condition(
            lambda: info.is_continue_as_new_suggested() or info.get_current_history_length() >= LONG_HISTORY
        )
        await workflow.wait_condition(workflow.all_handlers_finished)
        workflow.continue_as_new(FleetInput(state=self.state()))

    @workflow.query(name=names.FLEET_STATE)
    def state(self) -> FleetState:
        """Return who holds what."""
        return FleetState(
            members=self._members,
            projects=self._projects,
            lists=self._lists,
            left=self._left,
            settled_at=self._may_grow_from,
        )

    @workflow.update(name=names.RENEW_LEASE)
    async def renew(self, request: RenewRequest) -> RenewAnswer:
        """Note what is new of a worker, and answer with its lease.

        Raises:
            ApplicationError: Of type `StaleRenewal`: the worker has sent a later request, or has left. Of type
                `UnknownBase`: the worker has to say all.
        """
        self._forget_silent()
        before = self._members.get(request.worker)
        self._note_list(request)
        held = _told(request.held, before and before.held)
        member = MemberState(
            host=request.host,
            number=request.number,
            capacity=request.capacity,
            most_per_project=request.most_per_project,
            max_machines=request.max_machines,
            serves=request.serves,
            plan=before.plan if before is not None else held,
            shares=before.shares if before is not None else {},
            granted_by=before.granted_by if before is not None else "",
            held=held,
            used=request.used,
            busy=_told(request.busy, before and before.busy),
            warm=_told(request.warm, before and before.warm),
            isolation=request.isolation,
            leaving=request.leaving,
            expires_at=self._all_leases_end(),
        )
        self._members[request.worker] = member
        resized = self._note_sizes(request.changes)
        self._is_planned &= not (resized or before is None or _differs(member, before))
        await self._plan_once()
        member = self._members.get(request.worker)
        if member is None:
            raise ApplicationError(f"{request.worker} has left meanwhile.", type=STALE)
        build = workflow.info().get_current_build_id()
        shares = self._grant(request.worker)
        self._members[request.worker] = member.model_copy(update={"shares": shares, "granted_by": build})
        as_before = request.held is None and shares == member.shares and member.granted_by == build
        spread = min(MAX_SPREAD, SPREAD_PER_WORKER * len(self._members))
        waits = any(share > shares.get(project, 0) for project, share in member.plan.items())
        return RenewAnswer(
            shares=None if as_before else shares,
            term=LEASE_TERM,
            next_within=max(WAITING_INTERVAL, 2 * spread) if waits else RENEW_INTERVAL,
            spread=spread,
        )

    @renew.validator
    def _check_renewal(self, request: RenewRequest) -> None:
        """Refuse a request that came late, or refers to what is not known, without an event."""
        self._refuse_late(request.worker, request.number)
        live = {name: member for name, member in self._members.items() if member.expires_at > workflow.now()}
        known = {None, *(member.serves for member in live.values())}
        says_all = None not in (request.held, request.busy, request.warm)
        if request.base not in known or not (says_all or request.worker in live):
            raise ApplicationError(f"{request.worker} has to say all that it serves and holds.", type=UNKNOWN)

    @workflow.update(name=names.LEAVE_FLEET)
    async def leave(self, request: LeaveRequest) -> None:
        """Give what these workers hold to others at once. They have no Machine any more, and do not come back."""
        self._forget_silent()
        for worker in request.workers:
            self._members.pop(worker, None)
            self._left[worker] = workflow.now() + LEASE_TERM
        self._is_planned = False
        await self._plan_once()

    @workflow.signal(name=names.WAKE_FLEET)
    def wake(self) -> None:
        """Do nothing. The event has Temporal store the next task of the workflow, which answers waiting updates."""

    def _all_leases_end(self) -> datetime:
        """Return when all leases that were given until now have run out for certain."""
        return workflow.now() + LEASE_TERM + LEASE_MARGIN

    def _refuse_late(self, worker: str, number: int) -> None:
        before, left_until = self._members.get(worker), self._left.get(worker)
        now = workflow.now()
        if (left_until is not None and left_until > now) or (
            before is not None and before.expires_at > now and number <= before.number
        ):
            raise ApplicationError(f"Request {number} of {worker} came late.", type=STALE)

    def _forget_silent(self) -> None:
        """Forget workers whose leases have run out for certain."""
        now = workflow.now()
        self._left = {name: until for name, until in self._left.items() if until > now}
        if silent := [name for name, member in self._members.items() if member.expires_at <= now]:
            for name in silent:
                del self._members[name]
            self._is_planned = False

    def _note_list(self, request: RenewRequest) -> None:
        """Note which projects the worker serves, if no other one has told the same list."""
        if request.serves in self._lists:
            return
        projects = set[str]() if request.base is None else set(self._lists[request.base])
        for project, size in request.changes.items():
            (projects.discard if size is None else projects.add)(project)
        self._lists[request.serves] = tuple(sorted(projects))

    def _note_sizes(self, changes: Mapping[str, ProjectSize | None]) -> bool:
        """Note the sizes of projects, but for those that another worker knows better; tell whether any is new."""
        changed = False
        for project, size in changes.items():
            known = self._projects.get(project)
            if size is not None and (
                known is None
                or size.deployed_at >= known.deployed_at
                or (size.replaces is not None and size.replaces >= known.deployed_at)
            ):
                changed = changed or size != known
                self._projects[project] = size
        return changed

    async def _plan_once(self) -> None:
        """Plan if something has changed, and once for all requests that come with the same task."""
        await asyncio.sleep(0)  # the others are noted first
        if not self._is_planned:
            self._plan()

    def _plan(self) -> None:
        """Decide what each worker is to have; forget projects that concern none any more."""
        self._is_planned = True
        self._lists = {name: self._lists[name] for name in sorted({m.serves for m in self._members.values()})}
        served = {name: frozenset(projects) for name, projects in self._lists.items()}
        known = set[str]().union(*served.values(), *(member.held for member in self._members.values()))
        self._projects = {project: size for project, size in self._projects.items() if project in known}
        self._sizes = limited_sizes(self._projects, self._members)
        planned = allocate(
            self._sizes,
            {
                name: Member(
                    capacity=member.capacity,
                    projects=served[member.serves],
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
        workflow.set_current_details(f"{len(self._members)} worker(s), {len(self._projects)} project(s)")

    def _grant(self, worker: str) -> dict[str, int]:
        """Return how much of its plan the worker may have now: nothing that is still in use beyond what may be."""
        member = self._members[worker]
        others = [other for name, other in self._members.items() if name != worker]
        build = workflow.info().get_current_build_id()
        may_grow = self._may_grow_from is None or self._may_grow_from <= workflow.now()
        may_grow = may_grow and all(other.granted_by == build for other in others)
        counted = Counter[str]()
        for other in others:
            counted.update(other.counted())
        limit = smallest_limit(self._members.values())
        room = None if limit is None else limit - counted.total() - sum(member.held.values())
        shares: dict[str, int] = {}
        for project, planned in member.plan.items():
            held = member.held.get(project, 0)
            free = self._sizes[project] - counted[project]
            if not may_grow:
                free = min(free, held)
            share = min(planned, free)
            if room is not None:
                share = min(share, held + max(0, room))
                room -= max(0, share - held)
            if share > 0:
                shares[project] = share
        return shares


def _told(numbers: dict[str, int] | None, before: dict[str, int] | None) -> dict[str, int]:
    """Return the numbers of a worker: those of its request, else those that it has told before."""
    return numbers if numbers is not None else before or {}


def _differs(member: MemberState, before: MemberState) -> bool:
    """Tell whether a worker has told anything new that is to be planned for: not how much of its projects it holds."""
    if member.held.keys() == before.held.keys():
        before = before.model_copy(update={"held": member.held})
    shown = {"busy": member.busy, "warm": member.warm, "isolation": member.isolation}
    return member != before.model_copy(update={"number": member.number, "expires_at": member.expires_at, **shown})
