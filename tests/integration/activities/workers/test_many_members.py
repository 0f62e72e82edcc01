"""More workers than Temporal takes updates of one workflow at a time ask for their leases, and all are answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import cast, override

from temporalio.client import Client

from activities.workers.deployed_projects import DeployedProjects
from activities.workers.fleet_member import FleetMember
from activities.workers.project_workers import ProjectWorkerManager
from callboard.machines.lease import Lease
from callboard.schemas.errors import Unavailable
from callboard.schemas.workflow.fleet import ProjectSize, RenewAnswer, RenewRequest, Sizes, list_id
from callboard.settings import Settings
from callboard.temporal.client import connect
from callboard.temporal.fleet import FleetClient
from callboard.temporal.fleet_worker import fleet_worker
from tests.support.polling import until
from tests.support.temporal_servers import dev_server

MEMBERS = 20
SIZE = ProjectSize(machines=1, deployed_at=datetime(2026, 11, 27, tzinfo=UTC))
TEMPORALS_OWN = "history.maxInFlightUpdates=10"


class Noting(FleetClient):
    """Notes what becomes of requests."""

    def __init__(self, client: Client) -> None:
        super().__init__(client)
        self.answered: list[RenewRequest] = []
        self.problems: list[str] = []

    @override
    async def renew(self, request: RenewRequest) -> RenewAnswer:
        try:
            answer = await super().renew(request)
        except Unavailable as error:
            self.problems.append(error.message)
            raise
        self.answered.append(request)
        return answer


@dataclass
class Deployed:
    sizes: Sizes
    changed: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Workers:
    """Project workers that use nothing."""

    changed: asyncio.Event = field(default_factory=asyncio.Event)
    stopping: bool = False
    interrupted: bool = False

    def in_use(self) -> dict[str, int]:
        return {}

    def accepted(self) -> dict[str, int]:
        return {}

    busy = warm = accepted

    async def serve(self) -> None:
        pass

    async def interrupt_all(self, _message: str) -> None:
        self.interrupted = True


async def test_all_are_answered_and_a_deploy_is_told_without_the_other_projects(tmp_path: Path) -> None:
    before = {f"project-{number:03}": SIZE for number in range(300)}
    async with dev_server(tmp_path, TEMPORALS_OWN) as server:
        client = await connect(Settings(temporal_address=server.address), retry_timeout=timedelta())
        noted = [Noting(client) for _ in range(MEMBERS)]
        deployed = [Deployed(dict(before)) for _ in noted]
        workers = [Workers() for _ in noted]
        members: list[FleetMember] = []
        for number, (fleet, serves, uses) in enumerate(zip(noted, deployed, workers, strict=True)):
            lease = Lease(deadline=0)
            member = FleetMember(
                fleet,
                f"worker-{number}",
                capacity=20,
                most_per_project=None,
                max_machines=None,
                isolation="full",
                lease=lease,
            )
            member.start(cast("DeployedProjects", serves), cast("ProjectWorkerManager", uses))
            members.append(member)
        # While no worker answers, more wait than Temporal lets.
        await until(lambda: any("in-flight updates" in text for fleet in noted for text in fleet.problems), within=60)
        async with fleet_worker(client, "tester"):
            await until(lambda: all(fleet.answered for fleet in noted), within=60)
            told_before = [len(fleet.answered) for fleet in noted]
            after = before | {"project-000": SIZE.model_copy(update={"machines": 2, "deployed_at": datetime.now(UTC)})}
            for serves in deployed:
                serves.sizes = dict(after)
                serves.changed.set()

            def has_told(fleet: Noting) -> bool:
                return fleet.answered[-1].serves == list_id(after)

            await until(lambda: all(map(has_told, noted)), within=60)
            told = [
                set(each.changes)
                for fleet, since in zip(noted, told_before, strict=True)
                for each in fleet.answered[since:]
            ]
            assert {"project-000"} in told
            assert [changes for changes in told if changes not in (set(), {"project-000"})] == []
            assert not any(uses.interrupted for uses in workers)
            await asyncio.gather(*(member.leave() for member in members))
