"""How soon workers are answered when all of them ask for their leases at once, and what the leases cost.

The workers that ask are the product's own `FleetMember`s, in this process and without Machines. Those that serve the
workflow `Fleet` are processes of the role `control`. Temporal has its own limit of updates in flight, as in Temporal
Cloud, unless another one is given.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import time
from collections.abc import AsyncGenerator, Awaitable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import cast, override

import psutil
from rich.table import Table
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from activities.workers.deployed_projects import DeployedProjects
from activities.workers.fleet_member import FleetMember
from activities.workers.project_workers import ProjectWorkerManager
from callboard.machines.lease import Lease
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow import names
from callboard.schemas.workflow.fleet import ProjectSize, RenewAnswer, RenewRequest, Sizes, list_id
from callboard.temporal.client import connect
from callboard.temporal.fleet import BaseUnknown, FleetClient
from tests.bench.fleet.figures import processor_seconds
from tests.bench.fleet.installation import Installation, progress, wait_until
from workflows.fleet import RENEW_INTERVAL, FleetWorkflow

SIZES = ((20, 300), (50, 1000))
"""Workers and projects."""
_CAPACITY = 8
_MACHINES = 3
_HOLDERS = 3
_AWAY = 9.0
"""Seconds for which Temporal is away."""
_ROUND = RENEW_INTERVAL.total_seconds() + 2
"""Seconds within which every worker asks."""


@dataclass
class _Renewal:
    """A request for a lease, with all its repetitions."""

    first_sent: float
    answered: float = 0
    size: int = 0
    """Bytes of the request that was answered."""


class _ObservedClient(FleetClient):
    """Notes what becomes of the requests of one worker."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.waiting: _Renewal | None = None
        self.renewals: list[_Renewal] = []
        self.unanswered: list[float] = []
        """When it was known that a request is not answered."""
        self.told = ""
        """Name of the list of projects that was told last."""

    @override
    async def renew(self, request: RenewRequest) -> RenewAnswer:
        self.waiting = self.waiting or _Renewal(time.perf_counter())
        try:
            answer = await super().renew(request)
        except BaseUnknown:
            raise
        except Unavailable:
            self.unanswered.append(time.perf_counter())
            raise
        self.waiting.answered, self.waiting.size = time.perf_counter(), len(request.model_dump_json())
        self.renewals.append(self.waiting)
        self.waiting, self.told = None, request.serves
        return answer


class _Deployed:
    """The projects that a worker serves, as `DeployedProjects` has them."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes = sizes
        self.changed = asyncio.Event()


@dataclass
class _Served:
    """Project workers without Temporal workers: all that they have been given is in use."""

    lease: Lease
    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    ended: list[float] = field(default_factory=list[float])
    """When the lease has ended."""

    def in_use(self) -> dict[str, int]:
        return {project: share for project in self.lease.projects if (share := self.lease.share(project))}

    def accepted(self) -> dict[str, int]:
        return {}

    busy = warm = accepted

    async def serve(self) -> None:
        pass

    async def interrupt_all(self, _message: str) -> None:
        self.ended.append(time.perf_counter())


class _Asking:
    """One worker that asks."""

    def __init__(self, client: Client, number: int, sizes: Sizes) -> None:
        self.client = _ObservedClient(client)
        self.deployed = _Deployed(sizes)
        self.lease = Lease(deadline=0)
        self.served = _Served(self.lease)
        self.member = FleetMember(
            self.client,
            f"worker-{number:02}",
            capacity=_CAPACITY,
            most_per_project=None,
            max_machines=None,
            isolation="full",
            lease=self.lease,
        )
        self.member.start(cast("DeployedProjects", self.deployed), cast("ProjectWorkerManager", self.served))

    def answered_since(self, event: float) -> list[_Renewal]:
        return [renewal for renewal in self.client.renewals if renewal.answered > event]


async def measure(workers: int, projects: int, in_flight: int) -> Table:
    """Return the table, for so many workers that ask, and projects with three Machines each."""
    table = Table(
        "what all workers ask after",
        "answered after, s: p50",
        "the last one",
        "requests that were not answered",
        "largest request, kB",
        "longest time between two answers, s",
        "leases that ended",
        "load of the host",
        title=f"{workers} workers, {projects} projects, {in_flight} updates in flight",
    )
    limit = f"history.maxInFlightUpdates={in_flight}"
    async with Installation.up(limit) as installation, installation.workers(_HOLDERS, role="control") as holders:
        client = await connect(installation.settings, retry_timeout=timedelta())
        async with _asking(client, workers, projects) as (asking, event):
            await wait_until(lambda: all(each.client.renewals for each in asking))
            _add_row(table, "a start of all workers", asking, event)
            await _settle(installation, _MACHINES * projects, event)
            event = await _deploy(asking)
            _add_row(table, "a deploy", asking, event)
            await _settle(installation, _MACHINES * projects, event)
            event = await _kill_holder(installation, holders, asking)
            _add_row(table, "a kill of the worker that answers", asking, event)
            event, back = await _take_temporal_away(installation, asking)
            _add_row(table, f"{_AWAY:g} s without Temporal", asking, event, back)
            cost = await _cost_of_a_renewal(holders, asking)
            progress(f"a request with nothing new: {cost * 1000:.1f} ms of the worker that answers")
    return table


@asynccontextmanager
async def _asking(client: Client, workers: int, projects: int) -> AsyncGenerator[tuple[list[_Asking], float]]:
    size = ProjectSize(machines=_MACHINES, deployed_at=datetime.now(UTC))
    sizes = {f"project-{number:04}": size for number in range(projects)}
    event = time.perf_counter()
    asking = [_Asking(client, number, dict(sizes)) for number in range(workers)]
    try:
        yield asking, event
    finally:
        await asyncio.gather(*(each.member.leave() for each in asking))


def _add_row(table: Table, what: str, asking: Sequence[_Asking], event: float, since: float | None = None) -> None:
    """Tell how workers were answered since an event; `since` is when they could be, if that is later."""
    since = since or event
    took = [
        renewal.answered - max(since, renewal.first_sent) for each in asking for renewal in each.answered_since(event)
    ]
    unanswered = sum(at > event for each in asking for at in each.client.unanswered)
    gaps = [
        after.answered - before.answered
        for each in asking
        for before, after in pairwise(each.client.renewals)
        if after.answered > event
    ]
    largest = max(renewal.size for each in asking for renewal in each.answered_since(event))
    ended = sum(at > event for each in asking for at in each.served.ended)
    row = (
        what,
        f"{statistics.median(took):.1f}",
        f"{max(took):.1f}",
        str(unanswered),
        f"{largest / 1000:.1f}",
        f"{max(gaps, default=0):.1f}",
        str(ended),
        f"{os.getloadavg()[0]:.0f}",
    )
    table.add_row(*row)
    progress(", ".join(row))


async def _settle(installation: Installation, machines: int, event: float) -> None:
    """Wait until nothing moves between workers any more."""

    async def is_settled() -> bool:
        try:
            members = (await installation.fleet()).members.values()
        except Unavailable:  # the worker that answers is busy
            return False
        shares = sum(sum(member.shares.values()) for member in members)
        return shares == machines and all(member.shares == member.plan for member in members)

    await wait_until(is_settled, every=1)
    progress(f"settled {time.perf_counter() - event:.1f} s later")


async def _deploy(asking: Sequence[_Asking]) -> float:
    """Deploy one project, wait until all workers have said so, and return when it was deployed."""
    event = time.perf_counter()
    sizes = dict(asking[0].deployed.sizes)
    project, size = next(iter(sizes.items()))
    sizes[project] = size.model_copy(update={"deployed_at": datetime.now(UTC)})
    for each in asking:
        each.deployed.sizes = dict(sizes)
        each.deployed.changed.set()
        each.client.waiting = each.client.waiting or _Renewal(event)
    await wait_until(lambda: all(each.client.told == list_id(sizes) for each in asking))
    return event


def _fleet(installation: Installation) -> WorkflowHandle[FleetWorkflow, None]:
    return installation.client.get_workflow_handle_for(FleetWorkflow.run, names.FLEET_ID)


async def _kill_holder(installation: Installation, holders: list[psutil.Process], asking: Sequence[_Asking]) -> float:
    """Kill the process that answers, wait until all workers were answered, and return when it was killed."""
    events = (await _fleet(installation).fetch_history()).events
    identity = next(
        event.workflow_task_started_event_attributes.identity
        for event in reversed(events)
        if event.HasField("workflow_task_started_event_attributes")
    )
    holder = next(process for process in holders if f"-{process.pid}-" in identity)
    holders.remove(holder)
    event = time.perf_counter()
    holder.kill()
    await _until_all_were_answered(asking, event)
    return event


async def _take_temporal_away(installation: Installation, asking: Sequence[_Asking]) -> tuple[float, float]:
    """Kill Temporal for some time, and return when it was killed and when it was back."""
    temporal = installation.temporal.process
    event = time.perf_counter()
    temporal.skip_grace()
    await temporal.stop()
    await asyncio.sleep(_AWAY)
    await temporal.start()

    async def is_back() -> bool:
        try:
            return await installation.client.service_client.check_health()
        except RPCError:
            return False

    await wait_until(is_back)
    back = time.perf_counter()
    await _until_all_were_answered(asking, back)
    return event, back


async def _until_all_were_answered(asking: Sequence[_Asking], event: float) -> None:
    await wait_until(lambda: all(each.answered_since(event) for each in asking))


async def _cost_of_a_renewal(holders: Sequence[psutil.Process], asking: Sequence[_Asking]) -> float:
    """Return the processor seconds of those that answer, for one request with nothing new."""
    await asyncio.sleep(_ROUND)
    before = sum(len(each.client.renewals) for each in asking)
    processor = await _processor_during(holders, asyncio.sleep(2 * _ROUND))
    return processor / (sum(len(each.client.renewals) for each in asking) - before)


async def _processor_during(holders: Sequence[psutil.Process], work: Awaitable[None]) -> float:
    """Return the processor seconds that these processes have taken meanwhile."""
    before = sum(map(processor_seconds, holders))
    await work
    return sum(map(processor_seconds, holders)) - before
