"""The workflow `Fleet`, and workers that ask it for Machines, on a server that skips time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from temporalio.client import WorkflowHandle
from temporalio.worker import Worker

from callboard.schemas.workflow import names
from callboard.schemas.workflow.fleet import (
    FleetInput,
    FleetState,
    LeaveRequest,
    MemberState,
    ProjectSize,
    RenewAnswer,
    RenewRequest,
    changes_between,
    list_id,
)
from tests.support.stage import IDENTITY, Server, Stage, shape
from workflows.fleet import FleetWorkflow

DEPLOYED = datetime(2026, 11, 27, tzinfo=UTC)


def size(machines: int, *, deploy: int = 0, replaces: int | None = None) -> ProjectSize:
    """The size of a project by its deploy of this number."""
    return ProjectSize(
        machines=machines,
        deployed_at=DEPLOYED + timedelta(minutes=deploy),
        replaces=None if replaces is None else DEPLOYED + timedelta(minutes=replaces),
    )


def fleet_state(
    held: dict[str, dict[str, int]], sizes: dict[str, int] | None = None, **fields: dict[str, Any]
) -> FleetState:
    """What the workflow knows.

    Args:
        held: The workers, and how many Machines of each of its projects one holds, and is to hold.
        sizes: How many Machines the projects may have, if they do not have all of them.
        fields: Other fields of a worker.
    """
    now = datetime.now(UTC)
    members: dict[str, MemberState] = {}
    lists: dict[str, tuple[str, ...]] = {}
    for name, shares in held.items():
        lists[f"list-of-{name}"] = tuple(shares)
        known = {"number": 1, "host": f"host-of-{name}", "capacity": 8, "serves": f"list-of-{name}", "plan": shares}
        known |= {"shares": shares, "expires_at": now + timedelta(hours=1)}
        members[name] = MemberState.model_validate(known | fields.get(name, {}))
    all_sizes = {
        project: sum(each.get(project, 0) for each in held.values()) for each in held.values() for project in each
    }
    projects = {project: size(count) for project, count in (all_sizes | (sizes or {})).items()}
    return FleetState(members=members, projects=projects, lists=lists)


class FleetStage(Stage):
    """The workflow `Fleet`, which is terminated with the stage."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # The server that skips time tells a replay no builds, by which the workflow knows who has given an answer.
        self.workflow_options = {}

    async def __aexit__(self, *exception: object) -> None:
        await self.handle.terminate()
        await super().__aexit__(*exception)

    @property
    def handle(self) -> WorkflowHandle[Any, Any]:
        return self.client.get_workflow_handle(self.name)

    async def up(self, *, successor: bool = False, build_id: str = IDENTITY) -> Worker:
        """Start the workflow, and serve it by a build."""
        await self.client.start_workflow(
            FleetWorkflow.run, FleetInput(successor=successor), id=self.name, task_queue=self.queue
        )
        return await self.serve(build_id)

    async def serve(self, build_id: str) -> Worker:
        """Serve the workflow by a build; what it loads after another one, it replays."""
        return await self.work(self.queue, workflows=[FleetWorkflow], build_id=build_id)

    async def state(self) -> FleetState:
        return await self.handle.query(FleetWorkflow.state)

    async def leave(self, *workers: str) -> None:
        await self.handle.execute_update(FleetWorkflow.leave, LeaveRequest(workers=workers))


class Asking:
    """A worker that asks, and follows what it is told."""

    def __init__(self, fleet: FleetStage, name: str, capacity: int = 8, **fields: Any) -> None:
        self.fleet = fleet
        self.name = name
        self.capacity = capacity
        self.fields = fields
        self.number = 0
        self.projects: dict[str, ProjectSize] | None = None
        """What the workflow was told last; None if this worker has told nothing yet."""
        self.shares: dict[str, int] = {}
        self.running: dict[str, int] = {}
        """How many Attempts run, by project; these Machines are held until the Attempts have ended."""
        self.held: dict[str, int] = {}
        """What the last request has said."""

    @property
    def holds(self) -> dict[str, int]:
        """What the worker was told last and what runs."""
        return {
            project: max(self.shares.get(project, 0), self.running.get(project, 0))
            for project in sorted({*self.shares, *self.running})
        }

    def request(self, projects: dict[str, ProjectSize] | None = None, **fields: Any) -> RenewRequest:
        """The next request, which says what the worker holds, and what differs in its projects."""
        base = self.projects
        projects = projects if projects is not None else base or {}
        self.number += 1
        self.held = self.holds
        request = RenewRequest(
            worker=self.name,
            number=self.number,
            capacity=self.capacity,
            serves=list_id(projects),
            base=None if base is None else list_id(base),
            changes=changes_between(base or {}, projects),
            held=self.held,
            used=self.running,
            busy=self.running,
            warm={},
            **self.fields,
        )
        return request.model_copy(update=fields)

    async def ask(self, projects: dict[str, ProjectSize] | None = None, **fields: Any) -> RenewAnswer:
        """Ask for a lease, and say what differs in the projects, if any are given."""
        request = self.request(projects, **fields)
        answer = await self.fleet.handle.execute_update(names.RENEW_LEASE, request, result_type=RenewAnswer)
        self.projects = projects if projects is not None else self.projects
        if answer.shares is not None:
            self.shares = answer.shares
        return answer

    async def keep(self) -> RenewAnswer:
        """Ask for a longer lease, as nothing has changed but how many of the Machines are in use."""
        assert self.holds == self.held, "what it holds is another number than it has said"
        return await self.ask(held=None, warm=None)


@shape(FleetStage, server=Server.SKIPPING)
async def fleet_that_shares_a_project(fleet: FleetStage) -> None:
    """Two workers share a project, one leaves, a deploy makes it smaller."""
    await fleet.up()
    first, second = Asking(fleet, "first", 2), Asking(fleet, "second", 2)
    await first.ask({"shop": size(3)})
    await second.ask({"shop": size(3)})
    first.running = {"shop": 2}
    await first.ask({"shop": size(1, deploy=1)})
    await second.ask()
    first.running = {}
    await first.ask()
    await fleet.leave("first")
    await second.ask()


@shape(FleetStage, server=Server.SKIPPING)
async def fleet_that_keeps_to_a_limit(fleet: FleetStage) -> None:
    """Two workers have a limit for all projects together, which one of them lowers."""
    await fleet.up()
    first, second = Asking(fleet, "first", 4, max_machines=4), Asking(fleet, "second", 4, max_machines=4)
    await first.ask({"shop": size(4)})
    first.running = {"shop": 3}
    await second.ask({"mail": size(4, deploy=1)})
    await first.ask()
    await second.ask()
    first.running = {}
    await first.ask(max_machines=2)
    await second.ask()


@shape(FleetStage, server=Server.SKIPPING)
async def fleet_that_keeps_leases(fleet: FleetStage) -> None:
    """Two workers keep their leases while Attempts come and go, and one leaves."""
    await fleet.up()
    first, second = Asking(fleet, "first", 4), Asking(fleet, "second", 4)
    await first.ask({"shop": size(3), "mail": size(1)})
    await second.ask({"shop": size(3), "mail": size(1)})
    await first.ask()
    await first.ask()
    await second.ask()
    await second.ask()
    first.running = {"shop": 2}
    await first.keep()
    await second.keep()
    first.running = {}
    await first.keep()
    await fleet.leave("second")
    await first.ask()
    await first.ask()
    await first.keep()
