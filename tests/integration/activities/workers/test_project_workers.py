"""Which projects a worker serves, and with how many slots; on a real Temporal, with scripted Attempts."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import AsyncGenerator, Sequence
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from temporalio import activity
from temporalio.api.common.v1 import Payload
from temporalio.client import Client
from temporalio.converter import PayloadCodec
from temporalio.service import ServiceClient

from activities.attempt_activities import AttemptActivities
from activities.attempts.running_attempts import RunningAttempts
from activities.workers.deployed_projects import DeployedProjects
from activities.workers.project_workers import ProjectWorker, ProjectWorkerManager
from callboard.machines.lease import Lease
from callboard.machines.machine_start import LaunchOptions
from callboard.machines.pool import MachinePools
from callboard.machines.slot import RecycleLimits
from callboard.projects.catalog import Catalog
from callboard.schemas.workflow import names
from callboard.schemas.workflow.attempt import AttemptInput, AttemptOutcome
from callboard.storage import object_keys
from tests.support.attempt_worker import deploy_project, running_attempt
from tests.support.faulty_store import FaultyStore
from tests.support.polling import until
from tests.support.run_stage import CANCELED, RunStage, completed
from tests.support.stage import IDENTITY
from tests.support.worker_in_process import worker_process


class Running(AttemptActivities):
    """The Attempts that run, each until it is let go."""

    def __init__(self, running_attempts: RunningAttempts) -> None:
        self._running_attempts = running_attempts
        self.held: dict[str, asyncio.Future[AttemptOutcome]] = {}
        self.most = 0
        self.stopped_by: list[str] = []
        """Of each that has ended; empty if it came to its end by itself."""

    @activity.defn(name=names.ATTEMPT)
    async def attempt(self, input: AttemptInput) -> AttemptOutcome:
        end: asyncio.Future[AttemptOutcome] = asyncio.get_running_loop().create_future()
        self.held[input.run_id] = end
        self.most = max(self.most, len(self.held))
        attempt = running_attempt(input, _until(end), activity.info())
        try:
            with self._running_attempts.register(attempt):
                await asyncio.wait({attempt.task})
            self.stopped_by.append(attempt.message)
            return CANCELED if attempt.task.cancelled() else attempt.task.result()
        finally:
            del self.held[input.run_id]

    def end(self, count: int) -> None:
        for end in list(self.held.values())[:count]:
            end.set_result(completed())


async def _until(end: asyncio.Future[AttemptOutcome]) -> AttemptOutcome:
    return await asyncio.shield(end)


class House:
    """A worker's serving, and Runs for it."""

    def __init__(self, client: Client, name: str, folder: Path, drain: timedelta) -> None:
        self.client = client
        self.name = name
        self.folder = folder
        self.store = FaultyStore(folder / "artifacts")
        self.running_attempts = RunningAttempts()
        self.running = Running(self.running_attempts)
        self.connections = 0
        self.runs: list[RunStage] = []
        options = LaunchOptions(folder / "scratch", Path("/nonexistent"))
        limits = RecycleLimits(idle=timedelta(minutes=1), attempts=1, age=timedelta(minutes=1))
        self.pools = MachinePools(options, limits)
        self.deployed = DeployedProjects(Catalog(self.store, max_age=timedelta()))
        self.lease = Lease()
        self.project_workers = ProjectWorkerManager(
            client=client,
            connect=self.connect,
            make_worker=partial(worker_process.attempts_worker, IDENTITY, self.running),
            lease=self.lease,
            pools=self.pools,
            running_attempts=self.running_attempts,
            drain_timeout=drain,
        )

    async def refresh(self) -> None:
        """Have the worker serve all that is deployed, as if it were the only one."""
        await self.deployed.refresh()
        self.lease.declare(self.project_workers.in_use())
        self.lease.grant({project: size.machines for project, size in self.deployed.sizes.items()})
        await self.project_workers.serve()

    async def connect(self) -> Client:
        self.connections += 1
        service = await ServiceClient.connect(self.client.service_client.config)
        return Client(service, namespace=self.client.namespace, data_converter=self.client.data_converter)

    async def deploy(self, machines: int, name: str = "") -> str:
        name = f"{self.name}{name}"
        await deploy_project(self.store, self.folder / f"project-{name}", name, machines)
        return name

    async def start_runs(self, count: int, project: str = "") -> None:
        for _ in range(count):
            stage = RunStage(self.client, f"{self.name}-{len(self.runs)}")
            stage.project = project or self.name
            self.runs.append(stage)
            await stage.serve_runs()
            await stage.start(maximum_attempts=1)

    async def until_running(self, count: int) -> None:
        await until(lambda: len(self.running.held) == count)


@pytest.fixture
def drain() -> timedelta:
    return timedelta(seconds=0.1)


@pytest.fixture
async def house(client: Client, name: str, tmp_path: Path, drain: timedelta) -> AsyncGenerator[House]:
    house = House(client, name[-40:].strip("-"), tmp_path, drain)
    yield house
    await asyncio.wait_for(house.project_workers.stop(), 20)
    assert house.running.held == {}
    for stage in house.runs:
        await stage.__aexit__(None, None, None)


async def test_a_new_project_gets_as_many_slots_as_machines(house: House) -> None:
    await house.refresh()
    await house.deploy(2)
    await house.start_runs(3)
    await house.refresh()
    await house.until_running(2)
    house.running.end(1)
    await until(lambda: sum(run.run_id in house.running.held for run in house.runs) == 2)
    assert house.running.most == 2


async def test_it_looks_by_itself_again_and_again(house: House) -> None:
    following = asyncio.create_task(house.deployed.follow(timedelta(seconds=0.05)))
    project = await house.deploy(1)
    await asyncio.wait_for(house.deployed.changed.wait(), 20)
    assert {name: size.machines for name, size in house.deployed.sizes.items()} == {project: 1}
    following.cancel()
    await asyncio.wait({following})


async def test_its_rounds_are_told_also_while_the_store_is_away(house: House) -> None:
    await house.deploy(1)
    steps: list[None] = []
    await house.deployed.refresh(lambda: steps.append(None))
    assert len(steps) == 2, "the projects, and the one of them"
    house.store.refuse = lambda _key: True
    await house.deployed.refresh(lambda: steps.append(None))
    assert len(steps) > 2


async def test_a_project_whose_share_is_the_same_is_not_looked_at_again(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle, changed = await house.deploy(1, "-idle"), await house.deploy(1, "-changed")
    await house.refresh()
    resized: list[str] = []
    resize = house.pools.resize

    async def note(project: str, machines: int) -> None:
        resized.append(project)
        await resize(project, machines)

    monkeypatch.setattr(house.pools, "resize", note)
    await house.refresh()
    assert resized == []
    await house.deploy(2, "-changed")
    await house.refresh()
    assert set(resized) == {changed}
    assert {house.pools[idle].size, house.pools[changed].size} == {1, 2}


async def test_more_machines_take_more_attempts_beside_those_that_run(house: House) -> None:
    await house.deploy(1)
    await house.refresh()
    await house.start_runs(4)
    await house.until_running(1)
    (first,) = house.running.held
    await house.deploy(3)
    await house.refresh()
    await house.until_running(3)
    assert first in house.running.held
    assert house.running.most == 3


async def test_fewer_machines_let_the_attempts_that_run_end_and_take_no_others(house: House) -> None:
    await house.deploy(3)
    await house.refresh()
    await house.start_runs(6)
    await house.until_running(3)
    before = set(house.running.held)
    await house.deploy(1)
    await house.refresh()
    assert set(house.running.held) == before, "nobody is disturbed"
    house.running.end(2)
    await house.until_running(1)
    await house.refresh()
    assert set(house.running.held) < before
    house.running.end(1)

    async def looks() -> None:
        while not (set(house.running.held) - before):
            await house.refresh()
            await asyncio.sleep(0.02)

    await asyncio.wait_for(looks(), 20)
    assert len(house.running.held) == 1
    assert house.running.most == 3


async def test_the_number_may_go_up_and_down_and_up(house: House) -> None:
    await house.start_runs(12)
    for machines in (2, 4, 1, 3):
        await house.deploy(machines)
        async with asyncio.timeout(30):
            while True:
                await house.refresh()
                in_use = house.project_workers.in_use()[house.name]
                if len(house.running.held) == machines and in_use == machines:
                    break
                if len(house.running.held) > machines:
                    house.running.end(1)
                await asyncio.sleep(0.02)
    # A worker that is draining may be given one more; the pool's bound is to the letter.
    assert house.running.most <= 5
    assert house.connections <= 4


async def test_one_broken_project_holds_up_no_other(house: House, caplog: pytest.LogCaptureFixture) -> None:
    broken = await house.deploy(1, "-a")
    good = await house.deploy(1, "-b")
    current = await house.store.get(object_keys.current_version(broken))
    assert current
    await house.store.put(object_keys.current_version(broken), current.replace(b'"version": "', b'"version": "0000'))
    await house.start_runs(1, good)
    for _ in range(3):
        await house.refresh()
    await house.until_running(1)
    complaints = [record for record in caplog.records if broken in record.getMessage()]
    assert len(complaints) == 1, "it is said once, not at every look"


@pytest.mark.parametrize("drain", [timedelta(seconds=0.1), timedelta(minutes=5)])
async def test_stopping_waits_for_the_drain_time_and_then_interrupts(house: House, drain: timedelta) -> None:
    await house.deploy(2)
    await house.refresh()
    await house.start_runs(2)
    await house.until_running(2)
    stopping = asyncio.create_task(house.project_workers.stop())
    if drain > timedelta(minutes=1):
        await asyncio.sleep(0)
        house.running.end(2)
    await asyncio.wait_for(stopping, 20)
    message = "" if drain > timedelta(minutes=1) else "The worker was stopped before the Attempt ended."
    assert house.running.stopped_by == [message] * 2


async def test_a_store_that_is_away_changes_nothing(house: House) -> None:
    await house.deploy(1)
    await house.refresh()
    house.store.refuse = lambda _key: True
    await house.refresh()
    await house.start_runs(1)
    await house.until_running(1)


# Its SDK does not stop.


class HeldCodec(PayloadCodec):
    """Results of activities are encoded when they are let go: so long the SDK's worker does not stop."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = asyncio.Event()

    async def encode(self, payloads: Sequence[Payload]) -> list[Payload]:
        self.asked.set()
        while not self.go.is_set():
            try:
                await self.go.wait()
            except asyncio.CancelledError:
                continue
        return list(payloads)

    async def decode(self, payloads: Sequence[Payload]) -> list[Payload]:
        return list(payloads)


async def test_a_worker_that_hangs_in_its_sdk_is_abandoned_once_it_is_idle(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    await house.deploy(1)
    codec = HeldCodec()
    own = await house.connect()
    converter = dataclasses.replace(own.data_converter, payload_codec=codec)
    client = Client(own.service_client, namespace=own.namespace, data_converter=converter)
    worker = ProjectWorker(
        house.name,
        2,
        client=client,
        make_worker=partial(worker_process.attempts_worker, IDENTITY, house.running),
        shutdown_margin=timedelta(seconds=0.2),
    )
    running = asyncio.create_task(worker.run())
    await house.start_runs(1)
    await house.until_running(1)
    worker.drain(hurry=True)
    await until(lambda: worker.reserved_slots == 1)
    await asyncio.wait({running}, timeout=0.5)
    assert not running.done(), "it holds an Attempt"
    house.running.end(1)
    await asyncio.wait_for(running, 20)
    assert codec.asked.is_set()
    assert "It is left behind" in caplog.text
    codec.go.set()
