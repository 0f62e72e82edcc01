"""The workflow `Fleet`: the one writer of who may have how many Machines of which project.

Each worker asks for its lease every few seconds. What a worker holds counts until it says that it holds less, or until
its lease has run out for certain; only then another one is given it. So the workers together never execute more
Attempts of a project than it may have Machines, except after a deploy that makes these fewer: what runs may end.

Most requests keep a lease as it is. They are small, and are answered without a look at the projects.

The workflow has no timer: what time has done is looked at when a worker asks. It plans when something has changed.

Another version of this code may have answered earlier requests of the same history in another way, and a replay does
not show it. So an answer counts only for the build that has given it (`granted_by`). As long as a worker has an answer
of another build, nobody gets more than it holds.
"""

from __future__ import annotations

from collections import Counter
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
        KeepAnswer,
        KeepRequest,
        LeaveRequest,
        MemberState,
        ProjectSize,
        RenewAnswer,
        RenewRequest,
        smallest_limit,
    )
    from workflows.allocation import Member, allocate, limit_sizes

RENEW_INTERVAL = timedelta(seconds=5)
"""Time from a renewal until the next request of the worker."""
KEEP_INTERVAL = timedelta(seconds=10)
"""The same after a request that has changed nothing: two of them may be lost before the lease ends."""
WAITING_INTERVAL = timedelta(seconds=1)
"""The same for a worker that is about to be given what another one still holds."""
LONG_HISTORY = 400
"""How many events a history has at most before the workflow continues as new: whoever takes it over replays all of
them, while leases go on."""
STALE = "StaleRenewal"
"""Type of the error of a request that came late: the worker has sent another one, or has left."""
CHANGED = "LeaseChanged"
"""Type of the error of a request to keep a lease. It must be renewed instead, as its shares may be others."""


def limited_sizes(projects: Mapping[str, ProjectSize], members: Mapping[str, MemberState]) -> dict[str, int]:
    """Return how many Machines each project may have: fewer than deployed if all of them together are too many."""
    by_deploy = sorted(projects.items(), key=lambda item: (item[1].deployed_at, item[0]))
    return limit_sizes({project: size.machines for project, size in by_deploy}, smallest_limit(members.values()))


@workflow.defn(name=names.FLEET)
class FleetWorkflow:
    """The leases of all workers of a namespace."""

    @workflow.init
    def __init__(self, input: FleetInput) -> None:
        state = input.state if input.packed is None else input.packed.unpacked()
        self._members = dict(state.members)
        self._projects = dict(state.projects)
        self._left = dict(state.left)
        self._may_grow_from = state.settled_at
        if input.successor:
            self._may_grow_from = self._all_leases_end()
        self._plan()

    @workflow.run
    async def run(self, _input: FleetInput) -> None:
        """Answer workers for as long as there are any; continue as new when the history becomes long."""
        info = workflow.info()
        await workflow.wait_condition(
            lambda: info.is_continue_as_new_suggested() or info.get_current_history_length() >= LONG_HISTORY
        )
        if not workflow.patched("fleet-continues-early"):
            await workflow.wait_condition(info.is_continue_as_new_suggested)
        await workflow.wait_condition(workflow.all_handlers_finished)
        for_earlier_versions = FleetState(settled_at=self._all_leases_end())
        workflow.continue_as_new(FleetInput(state=for_earlier_versions, packed=self.state().packed()))

    @workflow.query(name=names.FLEET_STATE)
    def state(self) -> FleetState:
        """Return who holds what."""
        return FleetState(
            members=self._members, projects=self._projects, left=self._left, settled_at=self._may_grow_from
        )

    @workflow.update(name=names.RENEW_LEASE)
    def renew(self, request: RenewRequest) -> RenewAnswer:
        """Note what a worker holds, and answer with its lease.

        Raises:
            ApplicationError: Of type `StaleRenewal`: the worker has sent a later request, or has left.
        """
        self._refuse_late(request.worker, request.number)  # earlier versions had no validator
        self._forget_silent()
        before = self._members.get(request.worker)
        if before is None and request.projects is None:
            return RenewAnswer(known=False, shares={}, term=LEASE_TERM, next_within=timedelta())
        projects = before.projects if before is not None else ()
        if request.projects is not None:
            projects = self._shared(tuple(sorted(request.projects)))
        member = MemberState(
            host=request.host,
            number=request.number,
            capacity=request.capacity,
            most_per_project=request.most_per_project,
            max_machines=request.max_machines,
            projects=projects,
            plan=before.plan if before is not None else request.held,
            shares=before.shares if before is not None else {},
            granted_by=before.granted_by if before is not None else "",
            held=request.held,
            used=request.used,
            leaving=request.leaving,
            expires_at=self._all_leases_end(),
        )
        self._members[request.worker] = member
        resized = self._note_sizes(request.projects or {})
        if resized or before is None or _differs(member, before):
            self._plan()
        plan = self._members[request.worker].plan
        shares = self._grant(request.worker)
        granted = {"shares": shares, "granted_by": workflow.info().get_current_build_id()}
        self._members[request.worker] = self._members[request.worker].model_copy(update=granted)
        waits = any(share > shares.get(project, 0) for project, share in plan.items())
        next_within = WAITING_INTERVAL if waits else RENEW_INTERVAL
        return RenewAnswer(shares=shares, term=LEASE_TERM, next_within=next_within)

    @renew.validator
    def _check_renewal(self, request: RenewRequest) -> None:
        """Refuse a request that came late, without an event."""
        self._refuse_late(request.worker, request.number)

    @workflow.update(name=names.KEEP_LEASE)
    def keep(self, request: KeepRequest) -> KeepAnswer:
        """Extend the lease of a worker for which nothing has changed.

        Raises:
            ApplicationError: Of type `StaleRenewal`, as `renew`; or of type `LeaseChanged`: the lease is not extended,
                and the worker has to renew it.
        """
        self._forget_silent()
        before = self._members.get(request.worker)
        if before is None:
            raise ApplicationError(f"{request.worker} has no lease any more.", type=CHANGED)
        changes = {"number": request.number, "used": request.used, "expires_at": self._all_leases_end()}
        self._members[request.worker] = member = before.model_copy(update=changes)
        if member.used != before.used:
            self._plan()
            member = self._members[request.worker]
        next_within = KEEP_INTERVAL if member.plan == member.shares else WAITING_INTERVAL
        return KeepAnswer(term=LEASE_TERM, next_within=next_within)

    @keep.validator
    def _check_keeping(self, request: KeepRequest) -> None:
        """Refuse a request that came late, or is not enough, without an event."""
        self._refuse_late(request.worker, request.number)
        member = self._members.get(request.worker)
        if (
            member is None
            or member.expires_at <= workflow.now()
            or request.number != member.number + 1
            or member.granted_by != workflow.info().get_current_build_id()
            or (member.plan != member.shares and self._grant(request.worker) != member.shares)
        ):
            raise ApplicationError(f"{request.worker} has to renew its lease.", type=CHANGED)

    @workflow.update(name=names.LEAVE_FLEET)
    def leave(self, request: LeaveRequest) -> None:
        """Give what these workers hold to others at once. They have no Machine any more, and do not come back."""
        self._forget_silent()
        for worker in request.workers:
            self._members.pop(worker, None)
            self._left[worker] = workflow.now() + LEASE_TERM
        self._plan()

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
            self._plan()

    def _shared(self, projects: tuple[str, ...]) -> tuple[str, ...]:
        """Return the same list, of another worker if it serves the same projects."""
        return next((member.projects for member in self._members.values() if member.projects == projects), projects)

    def _note_sizes(self, projects: Mapping[str, ProjectSize]) -> bool:
        """Note the sizes of the projects, but for those that another worker knows better; tell whether any is new."""
        changed = False
        for project, size in projects.items():
            known = self._projects.get(project)
            if (
                known is None
                or size.deployed_at >= known.deployed_at
                or (size.replaces is not None and size.replaces >= known.deployed_at)
            ):
                changed = changed or size != known
                self._projects[project] = size
        return changed

    def _plan(self) -> None:
        """Decide what each worker is to have, as something has changed; forget projects that concern none any more."""
        served = {projects: frozenset(projects) for projects in {member.projects for member in self._members.values()}}
        known = set[str]().union(*served.values(), *(member.held for member in self._members.values()))
        self._projects = {project: size for project, size in self._projects.items() if project in known}
        self._sizes = limited_sizes(self._projects, self._members)
        planned = allocate(
            self._sizes,
            {
                name: Member(
                    capacity=member.capacity,
                    projects=served[member.projects],
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


def _differs(member: MemberState, before: MemberState) -> bool:
    """Tell whether a worker has told anything new with its request."""
    return member != before.model_copy(update={"number": member.number, "expires_at": member.expires_at})
