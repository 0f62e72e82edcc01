"""Keep this worker's lease of Machines, follow what it says, and give up everything when it is over."""

from __future__ import annotations

import asyncio
import logging
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta

from activities.workers.deployed_projects import DeployedProjects
from activities.workers.problem_log import ProblemLog
from activities.workers.project_workers import ProjectWorkerManager
from callboard.machines.lease import Lease, boottime
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.fleet import RenewAnswer, RenewRequest, Sizes, changes_between, list_id
from callboard.temporal.fleet import BaseUnknown, FleetClient

log = logging.getLogger(__name__)

_RETRY_SPREAD = timedelta(seconds=2)
"""Time over which the next request is spread, by chance, after one that was not answered: all workers may have sent one
at the same time, or Temporal may be back for all of them."""
_SERVE_INTERVAL = timedelta(seconds=1)
"""Time between two looks at what is still in use, if nobody says that it has changed."""
_STOP_BEFORE = 2.5
"""Seconds before the end of the lease at which Attempts are stopped: it takes up to 1.5 to save what they leave, and
what is left is ended by the keepers."""
_LOOK_INTERVAL = 1.0
"""Most seconds between two looks at the clock of the lease, which goes on while the host sleeps."""
_LEAVE_TIMEOUT = timedelta(seconds=10)
"""How long a worker that ends tries to give back its lease. Otherwise the lease runs out."""
_LEASE = "the lease of Machines"
_ENDED = "The worker's lease of its Machines has ended, since it could not be renewed."


class FleetMember:
    """This worker as a member of the fleet. `start` begins its work, and `leave` ends it."""

    def __init__(
        self,
        fleet: FleetClient,
        worker: str,
        *,
        capacity: int,
        most_per_project: int | None,
        max_machines: int | None,
        isolation: str,
        lease: Lease,
        dead: Sequence[str] = (),
        on_asked: Callable[[], None] = lambda: None,
        on_served: Callable[[], None] = lambda: None,
    ) -> None:
        """Set up without asking for anything yet.

        Args:
            fleet: The workflow `Fleet`.
            worker: Name of the worker process in Temporal.
            capacity: How many Machines it can have at once.
            most_per_project: How many Machines of one project it may have; None for any number.
            max_machines: How many Machines all projects may have together, over all workers; None for any number.
            isolation: How far its Machines are isolated: `full`, `open` or `none`.
            lease: Is kept up to date with every answer.
            dead: Workers of this host that have died, and whose Machines are gone.
            on_asked: Is called whenever the lease was asked for, with or without an answer.
            on_served: Is called whenever the shares were followed.
        """
        self._fleet = fleet
        self._worker = worker
        self._capacity = capacity
        self._most_per_project = most_per_project
        self._max_machines = max_machines
        self._isolation = isolation
        self._lease = lease
        self._dead = tuple(dead)
        self._on_asked = on_asked
        self._on_served = on_served
        self._number = 0
        self._last_request: RenewRequest | None = None
        """The last request, if the workflow has answered it."""
        self._shares: Mapping[str, int] = {}
        """The shares by the last answer."""
        self._told_sizes: Sizes | None = None
        """The projects that the workflow was told last; None if this worker has told nothing yet."""
        self._spread = timedelta()
        """Time over which requests are spread that have something new to say, by the last answer."""
        self._problems = ProblemLog(log, "it could not be renewed")
        self._renew_now = asyncio.Event()
        self._serve_now = asyncio.Event()
        self._renewed = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def start(self, deployed: DeployedProjects, project_workers: ProjectWorkerManager) -> None:
        """Begin to ask for a lease, and to serve what it says."""
        deployed.changed = self._renew_now
        project_workers.changed = self._serve_now
        self._tasks = [
            asyncio.create_task(self._keep_lease(deployed, project_workers), name="keep the lease"),
            asyncio.create_task(self._follow_shares(project_workers), name="follow the shares"),
            asyncio.create_task(self._watch_deadline(project_workers), name="watch the lease"),
        ]

    async def watch(self) -> None:
        """Wait until cancelled. Raises the error of a part of this work that has failed."""
        done, _ = await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()

    async def leave(self) -> None:
        """Give the lease back, once all Machines are gone. In bounded time, and whether or not it was started."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._number:
            with suppress(TimeoutError):  # the lease runs out by itself
                async with asyncio.timeout(_LEAVE_TIMEOUT.total_seconds()):
                    while True:
                        with suppress(Unavailable):
                            await self._fleet.leave([self._worker])
                            return
                        await asyncio.sleep(_part_of(_RETRY_SPREAD).total_seconds())

    async def _keep_lease(self, deployed: DeployedProjects, project_workers: ProjectWorkerManager) -> None:
        while True:
            self._renew_now.clear()
            try:
                interval = await self._renew(deployed, project_workers)
            except Unavailable as error:
                self._problems.note(_LEASE, error.message)
                interval = _part_of(_RETRY_SPREAD)
            else:
                self._problems.note(_LEASE, None)
            self._on_asked()
            with suppress(TimeoutError):
                async with asyncio.timeout(interval.total_seconds()):
                    await self._renew_now.wait()
                    await asyncio.sleep(_part_of(self._spread).total_seconds())

    async def _renew(self, deployed: DeployedProjects, project_workers: ProjectWorkerManager) -> timedelta:
        """Ask for the lease, and return the time until the next request. Raises Unavailable."""
        if self._dead:
            await self._fleet.leave(self._dead)
            self._dead = ()
        last, self._last_request = self._last_request, None
        sizes = deployed.sizes
        base = sizes if self._told_sizes is None else self._told_sizes  # another worker may have told the same
        request = RenewRequest(
            worker=self._worker,
            host=socket.gethostname(),
            number=self._number + 1,
            capacity=self._capacity,
            most_per_project=self._most_per_project,
            max_machines=self._max_machines,
            serves=list_id(sizes),
            base=list_id(base),
            changes=changes_between(base, sizes),
            held=self._lease.declare(project_workers.in_use()),
            used=project_workers.accepted(),
            busy=project_workers.busy(),
            warm=project_workers.warm(),
            isolation=self._isolation,
            leaving=project_workers.stopping,
        )
        try:
            answer, sent = await self._ask(request.without_known(last))
        except BaseUnknown:
            request = request.model_copy(update={"number": self._number + 1, "base": None, "changes": dict(sizes)})
            answer, sent = await self._ask(request)
        self._last_request, self._told_sizes, self._spread = request, sizes, answer.spread
        if answer.shares is not None:
            self._shares = answer.shares
        self._lease.grant(self._shares)
        self._extend(sent + answer.term.total_seconds())
        self._serve_now.set()
        return answer.next_within - _part_of(self._spread)

    async def _ask(self, request: RenewRequest) -> tuple[RenewAnswer, float]:
        """Return the answer, and when the request was sent. Raises Unavailable."""
        self._number, sent = request.number, boottime()
        return await self._fleet.renew(request), sent

    def _extend(self, deadline: float) -> None:
        self._lease.extend(deadline)
        self._renewed.set()

    async def _follow_shares(self, project_workers: ProjectWorkerManager) -> None:
        while True:
            self._serve_now.clear()
            await project_workers.serve()
            self._on_served()
            if self._has_news(project_workers):
                self._renew_now.set()
            with suppress(TimeoutError):
                async with asyncio.timeout(_SERVE_INTERVAL.total_seconds()):
                    await self._serve_now.wait()

    def _has_news(self, project_workers: ProjectWorkerManager) -> bool:
        """Tell whether the workflow does not know yet that something is free, or that the worker leaves."""
        last = self._last_request
        if last is None:
            return False
        in_use = project_workers.in_use()
        return project_workers.stopping != last.leaving or any(
            max(self._lease.share(project), in_use.get(project, 0)) < count
            for project, count in (last.held or {}).items()
        )

    async def _watch_deadline(self, project_workers: ProjectWorkerManager) -> None:
        while True:
            await self._renewed.wait()
            left = self._lease.remaining - _STOP_BEFORE
            if left > 0:
                await asyncio.sleep(min(left, _LOOK_INTERVAL))
                continue
            self._renewed.clear()
            log.error("%s Its Attempts are stopped; they are made again.", _ENDED)
            self._lease.revoke()
            await project_workers.interrupt_all(_ENDED)


def _part_of(span: timedelta) -> timedelta:
    """Return a part of a time, chosen by chance, so that workers do not ask at the same moment."""
    return random.random() * span  # noqa: S311 - nobody has to be unable to guess it
