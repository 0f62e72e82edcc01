"""What many Attempts of all kinds leave behind: nothing, and neither does the counting of them go wrong."""

from __future__ import annotations

import asyncio
import math
import os
import secrets
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.enums.v1 import PendingActivityState
from temporalio.client import Client

from activities.attempts.running_attempts import RunningAttempts
from callboard.machines import host
from callboard.machines.keeper_process import processes_of
from callboard.machines.pool import MachinePools
from callboard.machines.trace_redactor import KEPT_IDLE
from callboard.projects.deploy import deploy
from callboard.projects.languages import Language
from callboard.schemas.workflow import names
from callboard.schemas.workflow.base import INLINE_LIMIT
from callboard.schemas.workflow.run import RunOutcome, RunStatus
from callboard.settings import Settings
from callboard.temporal.closing import wait_for_outcome
from tests.support.delivery_inputs import json_text
from tests.support.faulty_store import FaultyStore
from tests.support.pollers import is_polled
from tests.support.polling import until
from tests.support.run_stage import run_input, start_run
from tests.support.soak import MACHINES, MIX, Kind, Soak, project
from tests.support.stack import Stack
from tests.support.temporal_servers import dev_client, dev_server
from tests.support.worker_in_process import serving, worker_process
from workflows.run_workflow import RunWorkflow

pytestmark = pytest.mark.timeout(400)

QUARTER = [replace(kind, runs=math.ceil(kind.runs / 4)) for kind in MIX]
"""All kinds, and fewer Attempts: processes, files and folders that one Attempt leaves show with one as with many."""

MEMORY = 15.0
"""Megabytes by which the private memory of a service may grow in two rounds. It moves by a few (the allocator takes
memory in steps, caches of the SDK fill); of the 200 Attempts of the whole mix anything bulky that is kept is more, and
what is small shows in the table of `make soak`."""

THREADS = (os.cpu_count() or 1) + 4
"""By which a service may have more: asyncio's pool of them is filled only as far as it was ever used."""
PROCESSES = MACHINES
"""By which all Machines may have more: a browser has one for the next page ready, or not yet. Besides, each process is
accounted for below."""


@pytest.mark.parametrize(
    ("language", "mix"),
    [
        pytest.param(Language.PYTHON, QUARTER, id="quarter"),
        pytest.param(Language.PYTHON, MIX, id="whole", marks=pytest.mark.soak),
        pytest.param(Language.TYPESCRIPT, MIX, id="typescript", marks=pytest.mark.soak),
    ],
)
async def test_three_rounds_of_attempts_of_all_kinds_leave_nothing(
    tmp_path: Path, site: str, language: Language, mix: Sequence[Kind]
) -> None:
    project(tmp_path / "projects", language)
    async with Stack.up(tmp_path, tmp_path / "projects", site) as stack:
        soak = Soak(stack.dev, tmp_path)
        await soak.round(1, mix)  # code is loaded, pools of threads and caches are filled
        before = await soak.settle()
        for seed in (2, 3):
            await soak.round(seed, mix)
        after = await soak.settle()

        assert after.worker_memory - before.worker_memory < MEMORY
        assert after.api_memory - before.api_memory < MEMORY

        assert after.worker_threads - before.worker_threads <= THREADS
        assert after.api_threads - before.api_threads <= THREADS
        assert after.machine_processes - before.machine_processes <= PROCESSES
        assert after.api_processes == before.api_processes

        def same() -> bool:
            now = soak.holding()
            return (now.worker_files, now.api_files) == (before.worker_files, before.api_files)

        await until(same)
        await until(soak.zombies, true=[].__eq__)
        assert soak.journal() == []
        # What a Machine has made ready for its next Attempt is all that there is of Attempts.
        assert [list((folder / "tmp").iterdir()) for folder in soak.prepared()] == [[]] * MACHINES
        # There is one keeper for each scratch folder, and one of both for each warm Machine.
        keepers = soak.keepers()
        assert sorted(Path(keeper.cmdline()[4]) for keeper in keepers) == sorted(soak.machines())
        assert len(keepers) == MACHINES
        # Of the Machines that there were before, no process is left: neither below the worker nor anywhere else.
        warm = {process.pid for keeper in keepers for process in (keeper, *keeper.children(recursive=True))}
        masking = {process.pid for process in soak.trace_processes()}
        assert len(masking) <= KEPT_IDLE
        assert {process.pid for process in soak.below_worker()} == warm | masking
        assert set(processes_of(stack.data / "workers")) <= warm


Held = frozenset[tuple[str, int]]
"""Attempts: id of the Run, and number."""


@dataclass
class Inside:
    """A running worker, and the Runs that it was given."""

    client: Client
    project: str
    version: str
    data: Path
    running_attempts: RunningAttempts = field(default_factory=RunningAttempts)
    pools: list[MachinePools] = field(default_factory=list[MachinePools])
    run_ids: list[str] = field(default_factory=list[str])
    ended: set[str] = field(default_factory=set[str])
    """Runs that have: Temporal counts nothing of them any more."""

    async def start(self, api: str, parameters: Any = None, **fields: Any) -> str:
        """Start a Run."""
        sent = json_text(parameters or {})
        run = run_input(self.project, version=self.version, api=api, parameters=sent, **fields)
        run_id = f"inside-{secrets.token_hex(6)}"
        await start_run(self.client, run, run_id, names.RUNS_QUEUE)
        self.run_ids.append(run_id)
        return run_id

    async def end(self, run_id: str) -> RunOutcome:
        """The Run's outcome."""
        async with asyncio.timeout(60):
            outcome = await wait_for_outcome(self.client.get_workflow_handle_for(RunWorkflow.run, run_id))
        self.ended.add(run_id)
        return outcome

    # What is counted, at four places.

    def held(self) -> Held:
        """The Attempts that the worker knows to run."""
        return frozenset(self.running_attempts)

    def noted(self) -> Held:
        """Those in its journal."""
        notes = (path.stem.rpartition("-") for path in self.data.glob("workers/*/attempts/*.json"))
        return frozenset((run_id, int(number)) for run_id, _, number in notes)

    def busy(self) -> int:
        """The Machines that it counts as taken."""
        return self.pools[0][self.project].busy

    async def in_flight(self) -> Held:
        """The Attempts that Temporal counts as taken by a worker."""
        found: set[tuple[str, int]] = set()
        for run_id in [run_id for run_id in self.run_ids if run_id not in self.ended]:
            description = await self.client.get_workflow_handle(run_id).describe()
            for pending in description.raw_description.pending_activities:
                taken = pending.state != PendingActivityState.PENDING_ACTIVITY_STATE_SCHEDULED
                if taken and pending.activity_type.name == names.ATTEMPT:
                    number = next(n for n in range(1, 101) if f"attempt-{n}" == pending.activity_id)
                    found.add((run_id, number))
        return frozenset(found)

    async def check(self) -> int:
        """Check what must hold at any moment; the number of Attempts that run.

        Temporal is asked a moment later than the worker: an Attempt that runs before and after the answer is in it.
        """
        before = self._check_here()
        in_flight = await self.in_flight()
        after = self._check_here()
        assert before & after <= in_flight, "an Attempt runs that Temporal does not know of"
        return len(after)

    async def until_counted(self, count: int) -> None:
        """Wait until all four say this. They must, as soon as nothing begins or ends."""

        async def counts() -> set[int]:
            return {len(self.held()), len(self.noted()), self.busy(), len(await self.in_flight())}

        await until(counts, true={count}.__eq__, every=0.05)
        assert self.held() == self.noted() == await self.in_flight()

    def _check_here(self) -> Held:
        """What must hold between two steps of this process."""
        held = self.held()
        assert held == self.noted(), "journal and worker know of different Attempts"
        # An Attempt has no Machine before it has its version and parameters, nor while its result is stored.
        assert self.busy() <= len(held), "a Machine is busy without an Attempt"
        return held


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path / "artifacts")


@pytest.fixture
async def inside(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, store: FaultyStore) -> AsyncGenerator[Inside]:
    project(tmp_path / "projects")
    version = (await deploy(tmp_path / "projects" / "lab", store)).version
    data = tmp_path / "data"
    async with dev_server(tmp_path / "temporal") as server:
        inside = Inside(await dev_client(server), "lab", version, data)

        def pools(*arguments: Any) -> MachinePools:
            inside.pools.append(MachinePools(*arguments))
            return inside.pools[-1]

        monkeypatch.setattr(worker_process, "RunningAttempts", lambda: inside.running_attempts)
        monkeypatch.setattr(host, "MachinePools", pools)
        settings = Settings(
            data_dir=data,
            temporal_address=server.address,
            temporal_namespace=inside.client.namespace,
            shared_folders=[tmp_path],
            browser_allow=["127.0.0.0/8", "::1"],
        )
        async with serving(monkeypatch, settings, store):
            await until(lambda: is_polled(inside.client, names.project_queue("lab")), every=0.05)
            yield inside
    assert list((data / "workers").iterdir()) == []


async def test_machines_busy_are_attempts_running_are_activities_in_flight(inside: Inside, tmp_path: Path) -> None:
    go = tmp_path / "go"
    held = [
        await inside.start("until-told", {"began": str(tmp_path / str(number)), "go": str(go)})
        for number in range(MACHINES + 1)
    ]
    await inside.until_counted(MACHINES)  # and one waits
    assert await inside.check() == MACHINES

    await inside.start("echo")
    await inside.start("fail", maximum_attempts=2)
    await inside.start("crash", maximum_attempts=2)
    await inside.start("stubborn", request_timeout=timedelta(seconds=1), maximum_attempts=1)
    canceled = [await inside.start("wait", {"seconds": 600}) for _ in range(2)]
    running = asyncio.gather(*(inside.end(run_id) for run_id in inside.run_ids))
    go.touch()
    busiest = 0
    while not running.done():
        busiest = max(busiest, await inside.check())
        # A look asks Temporal of every Run: without a pause they would be most of the load.
        await asyncio.wait({running}, timeout=0.05)
        for run_id in {run_id for run_id, _ in inside.held()} & set(canceled):
            await inside.client.get_workflow_handle(run_id).cancel()
    outcomes: dict[str, RunOutcome] = dict(zip(inside.run_ids, await running, strict=True))
    assert {outcomes[run_id].status for run_id in held} == {RunStatus.COMPLETED}
    assert {outcomes[run_id].status for run_id in canceled} == {RunStatus.CANCELED}
    assert 0 < busiest <= MACHINES
    await inside.until_counted(0)


async def test_a_machine_is_free_while_its_last_result_is_being_stored(
    inside: Inside, store: FaultyStore, tmp_path: Path
) -> None:
    written = asyncio.Event()
    store.hold = lambda _key, _data: written
    (tmp_path / "go").touch()
    run_id = await inside.start("counted-big", {"folder": str(tmp_path), "name": "run", "size": 2 * INLINE_LIMIT})
    await until(lambda: list(tmp_path.glob("run-ends-*")))
    await until(lambda: not inside.busy())
    assert len(inside.held()) == 1
    written.set()
    outcome = await inside.end(run_id)
    assert (outcome.status, outcome.attempts) == (RunStatus.COMPLETED, 1)
    names = [key.rpartition("/")[2] for key, _ in store.writes if key.endswith(".json")]
    assert "result.json" in names
    assert names[-1] == "attempt.json", "the record comes last"
    assert len(list(tmp_path.glob("run-began-*"))) == 1
