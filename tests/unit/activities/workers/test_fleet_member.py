"""A worker keeps its lease, says truly what it holds, and gives up everything when the lease is over."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import cast

import pytest

from activities.workers import fleet_member
from activities.workers.deployed_projects import DeployedProjects
from activities.workers.fleet_member import FleetMember
from activities.workers.project_workers import ProjectWorkerManager
from callboard.machines.lease import Lease
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.fleet import ProjectSize, RenewAnswer, RenewRequest
from callboard.temporal.fleet import BaseUnknown, FleetClient
from tests.support.polling import until

SHOP = {"shop": ProjectSize(machines=4, deployed_at=datetime(2026, 11, 27, tzinfo=UTC))}


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for interval in ("_SERVE_INTERVAL", "_RETRY_SPREAD"):
        monkeypatch.setattr(fleet_member, interval, timedelta(seconds=0.01))


class ScriptedFleet:
    """Answers as it is told to."""

    def __init__(self) -> None:
        self.requests: list[RenewRequest] = []
        self.lists: set[str | None] = {None}
        """The lists of projects that it knows."""
        self.left: list[str] = []
        self.shares = {"shop": 2}
        self.told: dict[str, int] = {}
        self.term = timedelta(seconds=30)
        self.next_within = timedelta(seconds=0.05)
        self.away = False

    def reach(self) -> None:
        if self.away:
            raise Unavailable("It is away.")

    async def renew(self, request: RenewRequest) -> RenewAnswer:
        self.requests.append(request)
        self.reach()
        if request.base not in self.lists:
            raise BaseUnknown("Who is that?")
        self.lists.add(request.serves)
        as_before = request.held is None and self.shares == self.told
        self.told = dict(self.shares)
        return RenewAnswer(
            shares=None if as_before else self.shares,
            term=self.term,
            next_within=self.next_within,
            spread=timedelta(),
        )

    async def leave(self, workers: Sequence[str]) -> None:
        self.reach()
        self.left.extend(workers)


class ScriptedWorkers:
    """Project workers that only count."""

    def __init__(self, lease: Lease) -> None:
        self.lease = lease
        self.changed = asyncio.Event()
        self.stopping = False
        self.runs = 0
        """How many Attempts run; a share that becomes smaller leaves them alone."""
        self.interrupted: list[str] = []

    def in_use(self) -> dict[str, int]:
        return {"shop": max(self.runs, self.lease.share("shop"))}

    def accepted(self) -> dict[str, int]:
        return {"shop": self.runs} if self.runs else {}

    def busy(self) -> dict[str, int]:
        return self.accepted()

    def warm(self) -> dict[str, int]:
        return {"shop": 1} if self.lease.share("shop") > self.runs else {}

    async def serve(self) -> None:
        pass

    async def interrupt_all(self, message: str) -> None:
        self.interrupted.append(message)
        self.runs = 0


class Deployed:
    def __init__(self) -> None:
        self.sizes = SHOP
        self.changed = asyncio.Event()


class House:
    def __init__(self, dead: Sequence[str] = ()) -> None:
        self.fleet = ScriptedFleet()
        self.lease = Lease(deadline=0)
        self.workers = ScriptedWorkers(self.lease)
        self.deployed = Deployed()
        self.rounds: list[str] = []
        self.member = FleetMember(
            cast("FleetClient", self.fleet),
            "me",
            capacity=8,
            most_per_project=None,
            max_machines=7,
            isolation="open",
            lease=self.lease,
            dead=dead,
            on_asked=lambda: self.rounds.append("asked"),
            on_served=lambda: self.rounds.append("served"),
        )

    @asynccontextmanager
    async def up(self) -> AsyncGenerator[None]:
        self.member.start(cast("DeployedProjects", self.deployed), cast("ProjectWorkerManager", self.workers))
        try:
            yield
        finally:
            await self.member.leave()


async def test_after_a_request_without_an_answer_it_says_what_it_holds() -> None:
    house = House()
    async with house.up():
        await until(lambda: house.fleet.requests[-1:] and house.fleet.requests[-1].held is None)
        house.fleet.away = True
        await until(lambda: house.fleet.requests[-1].held == {"shop": 2})
        house.fleet.away = False


async def test_it_says_at_once_that_it_leaves() -> None:
    house = House()
    house.fleet.next_within = timedelta(hours=1)
    async with house.up():
        await until(lambda: house.lease.share("shop") == 2)
        house.workers.stopping = True
        await until(lambda: house.fleet.requests[-1].leaving)


async def test_what_runs_is_held_after_the_share_has_become_smaller() -> None:
    house = House()
    async with house.up():
        await until(lambda: house.lease.share("shop") == 2)
        house.workers.runs = 2
        house.fleet.shares = {"shop": 1}
        await until(lambda: house.lease.share("shop") == 1)
        assert house.lease.most("shop") == 2
        await until(lambda: house.fleet.requests[-1].held is None)
        assert {"shop": 2} in [request.held for request in house.fleet.requests]
        house.workers.runs = 1
        await until(lambda: {"shop": 1} in [request.held for request in house.fleet.requests])
        await until(lambda: house.lease.most("shop") == 1)


async def test_a_lease_that_cannot_be_renewed_ends_and_comes_back(caplog: pytest.LogCaptureFixture) -> None:
    house = House()
    house.fleet.term = timedelta(seconds=3.5)
    async with house.up():
        await until(lambda: house.lease.share("shop") == 2)
        house.workers.runs = 2
        house.fleet.away = True
        await until(lambda: house.workers.interrupted != [])
        assert not house.lease.ended, "there is time left to save what Attempts leave"
        assert (house.lease.share("shop"), house.lease.most("shop")) == (0, 0)
        await until(lambda: house.fleet.requests[-1].held == {})
        house.fleet.away = False
        await until(lambda: house.lease.share("shop") == 2)
    assert len([record for record in caplog.records if "could not be renewed: It is away." in record.message]) == 1
