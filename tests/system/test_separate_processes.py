"""The parts run apart: two apis and two workers as plain processes, which share Temporal and a bucket, nothing else."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from devstack import ports
from devstack.temporal import TemporalServer
from machines.scratch_cleanup import processes_of
from settings import Settings
from storage.s3 import open_bucket
from storage.store import Store
from tests.support.polling import until
from tests.support.s3_server import BUCKET, S3Server, s3_server

pytestmark = pytest.mark.timeout(240)

CALLBOARD = Path(sys.executable).with_name("callboard")
KEY = "key-of-the-parts-apart"
MACHINES = 2
"""Most Machines of each of the two workers, which together have all of the project's."""
PATIENCE = 60
RUNS = f"/api/v1/workspace/{Settings().workspace}/projects/apart/run"

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


class Part:
    """One process of the installation, with a data folder of its own."""

    def __init__(self, data: Path, process: Process, log: Path, url: str) -> None:
        self.data = data
        self.process = process
        self.log = log
        self.url = url

    def says(self, words: str) -> bool:
        return words in self.log.read_text()


class Apart:
    """The installation: what all parts are told, and the parts that run."""

    def __init__(self, folder: Path, temporal: TemporalServer, s3: S3Server, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.apis: list[httpx.AsyncClient] = []
        self.workers: list[Part] = []
        self.environment = {
            "PATH": os.environ["PATH"],
            "LANG": "C.UTF-8",
            "HOME": str(folder),
            "CALLBOARD_API_KEYS": KEY,
            "CALLBOARD_SECRET_KEY": "sealing-key-of-the-parts",
            "CALLBOARD_TEMPORAL_ADDRESS": temporal.address,
            "CALLBOARD_ARTIFACTS": f"s3://{BUCKET}/callboard",
            "CALLBOARD_ARTIFACTS_ENDPOINT": s3.endpoint,
            "CALLBOARD_READY_NEEDS_WORKERS": "true",
            "CALLBOARD_VIEWER_PORT": "0",
            "CALLBOARD_SHARED_FOLDERS": str(folder.parent),
            "CALLBOARD_MACHINES": str(MACHINES),
            **s3.environment,
        }
        if chromium := os.environ.get("CALLBOARD_CHROMIUM"):
            self.environment["CALLBOARD_CHROMIUM"] = chromium

    @asynccontextmanager
    async def part(self, name: str, command: str) -> AsyncGenerator[Part]:
        data, log = self.folder / name, self.folder / f"{name}.log"
        port = ports.choose_ports({"--port": 0})["--port"]
        with log.open("wb") as out:
            process = await asyncio.create_subprocess_exec(
                CALLBOARD,
                command,
                cwd=self.folder,
                env=self.environment | {"CALLBOARD_DATA_DIR": str(data), "CALLBOARD_PORT": str(port)},
                stdin=DEVNULL,
                stdout=out,
                stderr=out,
            )
        try:
            yield Part(data, process, log, f"http://127.0.0.1:{port}")
            if process.returncode is None:
                process.terminate()
            # uvicorn ends by the signal that it was stopped with.
            assert await asyncio.wait_for(process.wait(), PATIENCE) in {0, -signal.SIGTERM}, log.read_text()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()

    async def deploy(self, version: int) -> str:
        """`callboard deploy`, from yet another place; what it prints."""
        project = self.folder / "project"
        for name, text in PROJECT.items():
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(text)
        (project / "utils" / "version.py").write_text(f"VERSION = {version}\n")
        process = await asyncio.create_subprocess_exec(
            CALLBOARD,
            *("deploy", project),
            cwd=self.folder,
            env=self.environment | {"CALLBOARD_DATA_DIR": str(self.folder / "deployer")},
            stdout=asyncio.subprocess.PIPE,
        )
        out, _ = await asyncio.wait_for(process.communicate(), PATIENCE)
        assert process.returncode == 0
        return out.decode()

    async def start(self, api: str, parameters: Any, *, by: int, **headers: str) -> httpx.Response:
        body = {"api": api, "parameters": parameters}
        return await self.apis[by].post(f"{RUNS}/start", json=body, headers=headers)

    async def result(self, run_id: str, *, by: int) -> dict[str, Any]:
        async with asyncio.timeout(PATIENCE):
            while True:
                answer = await self.apis[by].get(f"{RUNS}/{run_id}/result", params={"wait": 30})
                assert answer.status_code == 200, answer.text
                if answer.json()["status"] not in {"pending", "started"}:
                    return answer.json()

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
            answer = await self._apart.start("gate", {"folder": str(self.folder), "n": n}, by=n % 2)
            assert answer.status_code == 201, answer.text
            self.ids.append(answer.json()["runId"])

    @property
    def begun(self) -> list[int]:
        return [int(path.name.removeprefix("begun-")) for path in self.folder.glob("begun-*")]

    def open(self) -> None:
        (self.folder / "go").touch()

    async def end(self, *, by: int) -> list[dict[str, Any]]:
        return list(await asyncio.gather(*(self._apart.result(run_id, by=by) for run_id in self.ids)))

    async def worker_of(self, n: int) -> str:
        (attempt,) = await self._apart.attempts(self.ids[n])
        return attempt["worker"]


async def ready(api: Part) -> None:
    async with asyncio.timeout(PATIENCE), httpx.AsyncClient(trust_env=False) as client:
        while True:
            assert api.process.returncode is None, api.log.read_text()
            try:
                if (await client.get(f"{api.url}/readyz")).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            await asyncio.sleep(0.05)


@pytest.fixture(scope="module")
async def apart(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Apart]:
    folder = tmp_path_factory.mktemp("apart")
    free = ports.choose_ports({"--port": 0, "--ui-port": 0})
    temporal = TemporalServer(folder / "temporal", port=free["--port"], ui_port=free["--ui-port"], report=print)
    async with AsyncExitStack() as resources:
        (folder / "temporal").mkdir()
        resources.push_async_callback(temporal.stop)
        await temporal.start()
        s3 = await resources.enter_async_context(s3_server(folder / "s3"))
        with pytest.MonkeyPatch.context() as patched:
            for name, value in s3.environment.items():
                patched.setenv(name, value)
            store = open_bucket(BUCKET, "callboard", s3.endpoint)
        installation = Apart(folder, temporal, s3, store)
        assert f"to s3://{BUCKET}/callboard" in await installation.deploy(1)
        parts = [
            await resources.enter_async_context(installation.part(f"{command}-{number}", command))
            for command in ("api", "worker")
            for number in (1, 2)
        ]
        installation.workers = parts[2:]
        for worker in installation.workers:
            await until(lambda worker=worker: worker.says(f"serving project apart with {MACHINES} Machine(s)"))
        for api in parts[:2]:
            await ready(api)
            client = httpx.AsyncClient(base_url=api.url, headers={"x-api-key": KEY}, timeout=90, trust_env=False)
            installation.apis.append(await resources.enter_async_context(client))
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
        answer = await apart.start("echo", {"by": one}, by=one)
        assert answer.status_code == 201, answer.text
        run_id = answer.json()["runId"]
        for by in (one, other):
            assert (await apart.result(run_id, by=by))["result"] == {"by": one}


async def test_what_is_too_big_for_temporal_travels_through_the_bucket(apart: Apart) -> None:
    size = 300_000
    answer = await apart.start("big", {"letter": "é", "size": size}, by=0)
    run_id = answer.json()["runId"]
    assert (await apart.result(run_id, by=1))["result"] == "é" * size
    stored = await apart.store.get(f"runs/apart/{run_id}/attempts/1/result.json")
    assert stored is not None
    assert json.loads(stored) == "é" * size

    parameters = {"text": "p" * 100_000}
    answer = await apart.start("echo", parameters, by=1)
    run_id = answer.json()["runId"]
    assert (await apart.result(run_id, by=0))["result"] == parameters
    kept = [key async for key in apart.store.list(f"runs/apart/{run_id}/parameters-")]
    assert len(kept) == 1


async def test_a_log_is_followed_through_the_bucket_while_it_is_written(
    apart: Apart, gate: Gate, tmp_path: Path
) -> None:
    await gate.start(1)
    (run_id,) = gate.ids
    place = f"{RUNS.removesuffix('/run')}/runs/{run_id}/attempts/1/log"
    async with asyncio.timeout(PATIENCE), apart.apis[1].stream("GET", place, params={"follow": True}) as followed:
        said: list[str] = []
        async for line in followed.aiter_lines():
            said.append(line)
            if "api/gate, version" in line:  # it is on its Machine, and its log in pieces
                (tmp_path / "go").touch()
    assert any(line.startswith('data: {"status": "completed"') for line in said)
    names = [key.rpartition("/")[2] async for key in apart.store.list(f"runs/apart/{run_id}/attempts/1/log")]
    assert names == ["log.jsonl"]


async def test_an_idempotency_key_holds_across_the_apis(apart: Apart) -> None:
    key = {"Idempotency-Key": "one-and-the-same"}
    answers = await asyncio.gather(*(apart.start("echo", {"n": 1}, by=n % 2, **key) for n in range(8)))
    assert {answer.status_code for answer in answers} == {201}
    (run_id,) = {answer.json()["runId"] for answer in answers}
    assert (await apart.result(run_id, by=1))["result"] == {"n": 1}
    assert len(await apart.attempts(run_id)) == 1
    for by in (0, 1):
        other = await apart.start("echo", {"n": 2}, by=by, **key)
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
    await apart.deploy(2)

    async def current(by: int) -> int:
        """The version that a Run gets which is started there now."""
        probe = Gate(apart, tmp_path_factory.mktemp("probe"))
        probe.open()
        answer = await apart.start("gate", {"folder": str(probe.folder), "n": 0}, by=by)
        return (await apart.result(answer.json()["runId"], by=by))["result"]["version"]

    before.open()
    assert {answer["result"]["version"] for answer in await before.end(by=1)} == {1}
    for by in (0, 1):
        async with asyncio.timeout(PATIENCE):
            while await current(by) != 2:
                await asyncio.sleep(0.1)
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
