"""What the leases of many workers cost, and how soon they go on when the worker that keeps them is killed.

The workers that ask are the product's own `FleetMember`s, in this process and without Machines. Those that serve the
workflow `Fleet` are processes of the role `control`.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import AsyncGenerator, Awaitable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import cast

import psutil
from rich.table import Table
from temporalio.client import WorkflowHandle

from activities.workers.deployed_projects import DeployedProjects
from activities.workers.fleet_member import FleetMember
from activities.workers.project_workers import ProjectWorkerManager
from bench.fleet.figures import processor_seconds
from bench.fleet.installation import Installation, progress, wait_until
from machines.lease import Lease
from schemas.workflow import names
from schemas.workflow.fleet import ProjectSize
from temporal.fleet import FleetClient
from workflows.fleet import LONG_HISTORY, FleetWorkflow

_CAPACITY = 8
_MACHINES = 3
_HOLDERS = 3
_SETTLE_SECONDS = 15
_IN_FLIGHT = 0.2
"""Seconds after a kill within which an answer may still be one of the worker that was killed."""


class _Deployed:
    """The projects that a worker serves, as `DeployedProjects` has them."""

    def __init__(self, sizes: Mapping[str, ProjectSize]) -> None:
        self.sizes = sizes
        self.changed = asyncio.Event()


class _Served:
    """Project workers without Temporal workers: all that they have been given is in use."""

    def __init__(self, lease: Lease) -> None:
        self._lease = lease
        self.changed = asyncio.Event()
        self.stopping = False

    def in_use(self) -> dict[str, int]:
        return {project: share for project in self._lease.projects if (share := self._lease.share(project))}

    def accepted(self) -> dict[str, int]:
        return {}

    async def serve(self) -> None:
        pass

    async def interrupt_all(self, _message: str) -> None:
        raise RuntimeError("a lease of the bench has ended")


class _Asking:
    """One worker that asks, and when it was answered."""

    def __init__(self, fleet: FleetClient, number: int, sizes: Mapping[str, ProjectSize]) -> None:
        lease = Lease(deadline=0)
        self.answered: list[float] = []
        lease.follow(lambda _deadline: self.answered.append(time.perf_counter()))
        self.deployed = _Deployed(sizes)
        self._lease = lease
        self.member = FleetMember(
            fleet,
            f"worker-{number:02}",
            capacity=_CAPACITY,
            most_per_project=None,
            max_machines=None,
            lease=lease,
        )
        self.member.start(cast("DeployedProjects", self.deployed), cast("ProjectWorkerManager", _Served(lease)))

    @property
    def leased(self) -> int:
        return sum(map(self._lease.share, self._lease.projects))


async def measure(workers: int, projects: int, seconds: float) -> Table:
    """Return the table, for so many workers that ask, and projects with three Machines each."""
    async with Installation.up() as installation, installation.workers(_HOLDERS, role="control") as holders:
        quiet = await _processor_during(holders, asyncio.sleep(seconds)) / seconds
        async with _asking(installation, workers, projects) as asking:
            await wait_until(lambda: sum(each.leased for each in asking) == _MACHINES * projects)
            progress(f"{workers} workers have joined")
            await asyncio.sleep(_SETTLE_SECONDS)

            async def cost_of(requests: Awaitable[None]) -> tuple[int, float]:
                """Return the number of answers meanwhile, and the processor time of one."""
                began, before = time.perf_counter(), sum(len(each.answered) for each in asking)
                processor = await _processor_during(holders, requests)
                answered = sum(len(each.answered) for each in asking) - before
                return answered, (processor - quiet * (time.perf_counter() - began)) / answered

            _, renewal = await cost_of(_all_renew(asking))
            await asyncio.sleep(_SETTLE_SECONDS)
            kept, keeping = await cost_of(asyncio.sleep(seconds))
            handed_over = await _size_of_state(installation)
            takeovers = [await _kill_holder(installation, holders, asking) for _ in range(_HOLDERS - 1)]
            longest = max(max(b - a for a, b in itertools.pairwise(each.answered)) for each in asking)
    table = Table(
        "workers",
        "projects",
        "requests to keep a lease/min",
        "processor of one, ms",
        "of a renewal after a deploy, ms",
        "state handed over, kB",
        "events replayed, and first answer after a kill, s",
        "longest time between two answers, s",
    )
    table.add_row(
        str(workers),
        str(projects),
        f"{kept * 60 / seconds:.0f}",
        f"{keeping * 1000:.1f}",
        f"{renewal * 1000:.1f}",
        f"{handed_over / 1000:.0f}",
        ", ".join(f"{events}: {took:.1f}" for events, took in takeovers),
        f"{longest:.1f}",
    )
    return table


@asynccontextmanager
async def _asking(installation: Installation, workers: int, projects: int) -> AsyncGenerator[list[_Asking]]:
    size = ProjectSize(machines=_MACHINES, deployed_at=datetime.now(UTC))
    sizes = {f"project-{number:04}": size for number in range(projects)}
    asking: list[_Asking] = []
    try:
        for number in range(workers):
            joining = _Asking(FleetClient(installation.client), number, sizes)
            asking.append(joining)
            await wait_until(lambda joining=joining: joining.answered)
        yield asking
    finally:
        await asyncio.gather(*(each.member.leave() for each in asking))


async def _processor_during(holders: Sequence[psutil.Process], work: Awaitable[None]) -> float:
    """Return the processor seconds that these processes have taken meanwhile."""
    before = sum(map(processor_seconds, holders))
    await work
    return sum(map(processor_seconds, holders)) - before


async def _all_renew(asking: Sequence[_Asking]) -> None:
    """Deploy one project, and wait until all workers have said so."""
    before = {each: len(each.answered) for each in asking}
    for each in asking:
        project, size = next(iter(each.deployed.sizes.items()))
        size = size.model_copy(update={"deployed_at": datetime.now(UTC)})
        each.deployed.sizes = {**each.deployed.sizes, project: size}
        each.deployed.changed.set()
    await wait_until(lambda: all(len(each.answered) > count for each, count in before.items()))


def _fleet(installation: Installation) -> WorkflowHandle[FleetWorkflow, None]:
    return installation.client.get_workflow_handle_for(FleetWorkflow.run, names.FLEET_ID)


async def _size_of_state(installation: Installation) -> int:
    """Return the bytes of what an execution hands over to the next one."""

    async def is_handed_over() -> bool:
        started = (await _fleet(installation).fetch_history()).events[0].workflow_execution_started_event_attributes
        return bool(started.continued_execution_run_id)

    await wait_until(is_handed_over)
    events = (await _fleet(installation).fetch_history()).events
    return events[0].workflow_execution_started_event_attributes.input.ByteSize()


async def _kill_holder(
    installation: Installation, holders: list[psutil.Process], asking: Sequence[_Asking]
) -> tuple[int, float]:
    """Kill the process that serves a long history; return its events, and the seconds until an answer."""

    async def is_long() -> bool:
        return (await _fleet(installation).describe()).history_length > LONG_HISTORY * 3 / 4

    await wait_until(is_long)
    events = (await _fleet(installation).fetch_history()).events
    identity = next(
        event.workflow_task_started_event_attributes.identity
        for event in reversed(events)
        if event.HasField("workflow_task_started_event_attributes")
    )
    holder = next(process for process in holders if f"-{process.pid}-" in identity)
    holders.remove(holder)
    killed = time.perf_counter()
    holder.kill()

    def first_answer() -> float | None:
        return min((at for each in asking for at in each.answered[-1:] if at > killed + _IN_FLIGHT), default=None)

    await wait_until(lambda: first_answer() is not None)
    took = (first_answer() or 0) - killed
    progress(f"killed after {len(events)} events, and answered {took:.1f} s later")
    return len(events), took
