"""The parts run apart: two apis and two workers as plain processes, which share Temporal and a bucket, nothing else."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.machines.keeper_process import processes_of
from callboard.storage.s3 import open_bucket
from callboard.storage.store import Store
from tests.support.installation import Part, Parts
from tests.support.polling import until
from tests.support.rest import Rest
from tests.support.s3_server import BUCKET, S3Server, s3_server
from tests.support.temporal_servers import dev_server

pytestmark = pytest.mark.timeout(240)

MACHINES = 2
"""Most Machines of each of the two workers, which together have all of the project's."""
PATIENCE = 60

PROJECT = {
    "Intuned.jsonc": f'{{"projectName": "apart", "replication": {{"maxConcurrentRequests": {2 * MACHINES}}}}}',
    "api/echo.py": "async def automation(page, params=None, **_):\n    return params\n",
    "api/big.py": "async def automation(page, params, **_):\n    return params['letter'] * params['size']\n",
    "api/gate.py": """
import asyncio
from pathlib import Path

from utils.version import VERSION


async def automation(page, params, **_):
    folder = Path(params["folder"])
    with (folder / f"begun-{params['n']}").open("x"):  # a second start of the same Run fails
        pass
    while not (folder / "go").exists():
        await asyncio.sleep(0.02)
    return {"n": params["n"], "version": VERSION}
""",
    "utils/version.py": "VERSION = 1\n",
}


class Apart(Parts):
    """The installation: what all parts are told, and the parts that run."""

    def __init__(self, folder: Path, temporal: str, s3: S3Server, store: Store) -> None:
        super().__init__(
            folder,
            project="apart",
            HOME=str(folder),
            CALLBOARD_TEMPORAL_ADDRESS=temporal,
            CALLBOARD_ARTIFACTS=f"s3://{BUCKET}/callboard",
            CALLBOARD_ARTIFACTS_ENDPOINT=s3.endpoint,
            CALLBOARD_READY_NEEDS_WORKERS="true",
            CALLBOARD_SHARED_FOLDERS=str(folder.parent),
            CALLBOARD_MACHINES=str(MACHINES),
            **s3.environment,
        )
        self.store = store
        self.apis: list[Rest] = []
        self.workers: list[Part] = []

    async def publish(self, version: int) -> str:
        """`callboard deploy`, from yet another place; what it prints."""
        return await self.deploy(PROJECT | {"utils/version.py": f"VERSION = {version}\n"})

    async def attempts(self, run_id: str) -> list[dict[str, Any]]:
        """The records of a Run's Attempts, from the bucket."""
        keys = [key async for key in self.store.list(f"runs/apart/{run_id}/attempts/")]
        found = [await self.store.get(key) for key in keys if key.endswith("/attempt.json")]
        return [json.loads(record) for record in found if record is not None]


class Gate:
    """Runs that begin, wait for a word, and end."""

    def __init__(self, apart: Apart, folder: Path) -> None:
        self._apart = apart
        self.folder = folder
        self.ids: list[str] = []

    async def start(self, count: int) -> None:
        """Start Runs, one at each api in turn."""
        for _ in range(count):
            n = len(self.ids)
            self.ids.append(await self._apart.apis[n % 2].start("gate", {"folder": str(self.folder), "n": n}))

    @property
    def begun(self) -> list[int]:
        return [int(path.name.removeprefix("begun-")) for path in self.folder.glob("begun-*")]

    def open(self) -> None:
        (self.folder / "go").touch()

    async def end(self, *, by: int) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(self._apart.apis[by].result(run_id) for run_id in self.ids)))

    async def worker_of(self, n: int) -> str:
        (attempt,) = await self._apart.attempts(self.ids[n])
        return attempt["worker"]


@pytest.fixture(scope="module")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apart]:
    folder = tmp_path_factory.mktemp("apart")
    async with (
        dev_server(folder / "temporal") as temporal,
        s3_server(folder / "s3") as s3,
        AsyncExitStack() as resources,
    ):
        with pytest.MonkeyPatch.context() as patched:
            for name, value in s3.environment.items():
                patched.setenv(name, value)
            store = open_bucket(BUCKET, "callboard", s3.endpoint)
        installation = Apart(folder, temporal.address, s3, store)
        assert f"to s3://{BUCKET}/callboard" in await installation.publish(1)
        for number in (1, 2):
            installation.workers.append(await installation.worker(resources, f"worker-{number}"))
        for worker in installation.workers:
            await until(lambda worker=worker: worker.says(f"serving project apart with {MACHINES} Machine(s)"))
        for number in (1, 2):
            installation.apis.append(await resources.enter_async_context(installation.api(f"api-{number}")))
        yield installation
    assert processes_of(folder) == []
    for name in ("worker-1", "worker-2"):
        assert list((folder / name / "workers").iterdir()) == []
    # All that they share lies in Temporal and in the bucket.
    assert not list(folder.glob("*/artifacts"))


@pytest.fixture
def gate(apart: Apart, tmp_path: Path) -> Gate:
    return Gate(apart, tmp_path)


async def test_a_run_that_one_api_started_is_known_to_the_other(apart: Apart) -> None:
    for one, other in ((0, 1), (1, 0)):
        run_id = await apart.apis[one].start("echo", {"by": one})
        for by in (one, other):
            assert (await apart.apis[by].result(run_id))["result"] == {"by": one}


async def test_what_is_too_big_for_temporal_travels_through_the_bucket(apart: Apart) -> None:
    size = 300_000
    run_id = await apart.apis[0].start("big", {"letter": "é", "size": size})
    assert (await apart.apis[1].result(run_id))["result"] == "é" * size
    stored = await apart.store.get(f"runs/apart/{run_id}/attempts/1/result.json")
    assert stored is not None
    assert json.loads(stored) == "é" * size

    parameters = {"text": "p" * 100_000}
    run_id = await apart.apis[1].start("echo", parameters)
    assert (await apart.apis[0].result(run_id))["result"] == parameters
    kept = [key async for key in apart.store.list(f"runs/apart/{run_id}/parameters-")]
    assert len(kept) == 1


async def test_a_log_is_followed_through_the_bucket_while_it_is_written(
    apart: Apart, gate: Gate, tmp_path: Path
) -> None:
    await gate.start(1)
    (run_id,) = gate.ids
    api = apart.apis[1]
    place, query = api.path(f"runs/{run_id}/attempts/1/log"), {"follow": True}
    async with asyncio.timeout(PATIENCE), api.http.stream("GET", place, params=query) as followed:
        said: list[str] = []
        async for line in followed.aiter_lines():
            said.append(line)
            if "api/gate, version" in line:  # it is on its Machine, and its log in pieces
                (tmp_path / "go").touch()
    assert any(line.startswith('data: {"status": "completed"') for line in said)
    names = [key.rpartition("/")[2] async for key in apart.store.list(f"runs/apart/{run_id}/attempts/1/log")]
    assert names == ["log.jsonl"]


async def test_an_idempotency_key_holds_across_the_apis(apart: Apart) -> None:
    async def start(n: int, by: int) -> httpx.Response:
        body, headers = {"api": "echo", "parameters": {"n": n}}, {"Idempotency-Key": "one-and-the-same"}
        return await apart.apis[by].request("POST", "run/start", json=body, headers=headers)

    answers = await asyncio.gather(*(start(1, by=n % 2) for n in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    (run_id,) = {answer.json()["runId"] for answer in answers}
    assert (await apart.apis[1].result(run_id))["result"] == {"n": 1}
    assert len(await apart.attempts(run_id)) == 1
    for by in (0, 1):
        other = await start(2, by=by)
        assert (other.status_code, other.json()["code"]) == (409, "conflict")


async def test_both_workers_fetch_a_version_and_take_their_share(apart: Apart, gate: Gate) -> None:
    await gate.start(2 * MACHINES)
    await until(lambda: len(gate.begun) == 2 * MACHINES)  # all at once: no worker alone has so many Machines
    gate.open()
    answers = await gate.end(by=0)
    assert [answer["result"] for answer in answers] == [{"n": n, "version": 1} for n in range(2 * MACHINES)]
    workers = [await gate.worker_of(n) for n in range(2 * MACHINES)]
    assert sorted(workers.count(worker) for worker in set(workers)) == [MACHINES, MACHINES]
    for part in apart.workers:
        assert len(list((part.data / "versions" / "apart").iterdir())) == 1


async def test_a_deploy_reaches_all_of_them_and_what_has_begun_keeps_its_version(
    apart: Apart, tmp_path_factory: pytest.TempPathFactory
) -> None:
    before = Gate(apart, tmp_path_factory.mktemp("before"))
    await before.start(2 * MACHINES + 1)
    await until(lambda: len(before.begun) == 2 * MACHINES)
    await apart.publish(2)

    async def current(by: int) -> int:
        """The version that a Run gets which is started there now."""
        probe = Gate(apart, tmp_path_factory.mktemp("probe"))
        probe.open()
        return (await apart.apis[by].run("gate", {"folder": str(probe.folder), "n": 0}))["result"]["version"]

    before.open()
    assert {answer["result"]["version"] for answer in await before.end(by=1)} == {1}
    for by in (0, 1):
        await until(partial(current, by), true=lambda version: version == 2, every=0.1)
    after = Gate(apart, tmp_path_factory.mktemp("after"))
    await after.start(2 * MACHINES)
    await until(lambda: len(after.begun) == 2 * MACHINES)
    after.open()
    assert {answer["result"]["version"] for answer in await after.end(by=0)} == {2}
    for part in apart.workers:
        assert len(list((part.data / "versions" / "apart").iterdir())) == 2


async def test_a_leaving_worker_ends_its_runs_and_another_takes_the_queue(apart: Apart, gate: Gate) -> None:
    await gate.start(4 * MACHINES)
    await until(lambda: len(gate.begun) == 2 * MACHINES)
    first = set(gate.begun)
    leaving = apart.workers[0]
    leaving.process.send_signal(signal.SIGTERM)
    await until(lambda: leaving.says("is leaving"))
    assert leaving.process.returncode is None  # what it runs keeps it
    gate.open()
    answers = await gate.end(by=1)
    assert [answer["status"] for answer in answers] == ["completed"] * len(gate.ids), answers
    async with asyncio.timeout(PATIENCE):
        assert await leaving.process.wait() == 0, leaving.log.read_text()
    workers = {n: await gate.worker_of(n) for n in range(len(gate.ids))}  # one Attempt each, which is checked there
    (stayed,) = {worker for n, worker in workers.items() if n not in first}
    assert len([n for n in first if workers[n] != stayed]) == MACHINES
    assert not list((leaving.data / "workers").iterdir())
