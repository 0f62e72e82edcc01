"""Whatever dies, hangs or cannot be reached: every accepted Run ends once, truly, and nothing is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from machines.scratch_cleanup import processes_of
from tests.support.machine_processes import USER, find_process
from tests.support.polling import until
from tests.support.processes import command_line, find_child, find_temporal, program
from tests.support.rest import Rest
from tests.support.stack import Stack
from tests.support.temporal_servers import dev_client

pytestmark = pytest.mark.timeout(240)

PATIENCE = 90
"""Seconds. Temporal gives a lost worker up after 30."""


class Runs:
    """Runs that note each of their starts in a folder."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.folder = folder
        self.ids: list[str] = []

    async def start(self, count: int, **fields: Any) -> None:
        for _ in range(count):
            parameters = {"folder": str(self.folder), "n": len(self.ids)}
            self.ids.append(await self.stack.start("counted", parameters, **fields))

    async def began(self, count: int) -> None:
        """Wait until user code was started so often, in all."""
        await until(lambda: self.starts.total() >= count, PATIENCE)

    @property
    def starts(self) -> Counter[int]:
        """How often user code was started, by Run."""
        return Counter(int(path.name.partition("-")[0]) for path in self.folder.iterdir() if path.name != "go")

    @property
    def children(self) -> list[int]:
        """The processes of user code, or those that wait for it: ids that they know themselves mean nothing here."""
        return [find_process(keeper.pid, USER) for keeper in keepers(self.stack)]

    def go(self) -> None:
        (self.folder / "go").touch()

    async def end(self) -> list[dict[str, Any]]:
        patient = Rest(self.stack.http, comes_again=True)
        return list(await asyncio.gather(*(patient.result(run_id) for run_id in self.ids)))

    def records(self, run_id: str) -> list[str]:
        """The status of each Attempt's record."""
        found = sorted((self.stack.data / "artifacts" / "runs" / "lab" / run_id).glob("attempts/*/attempt.json"))
        return [json.loads(path.read_text())["status"] for path in found]


@pytest.fixture
def runs(faulty: Stack, tmp_path: Path) -> Iterator[Runs]:
    """What a failed test leaves waiting is let go, or it would hold the Machines of the tests after it."""
    runs = Runs(faulty, tmp_path)
    yield runs
    runs.go()


def service(stack: Stack, module: str) -> psutil.Process:
    """The api or worker process of this stack."""
    return find_child(module, stack.data)


def keepers(stack: Stack) -> list[psutil.Process]:
    """The keepers of the project's Machines."""
    children = {child: " ".join(command_line(child)) for child in service(stack, "worker").children()}
    return [child for child, command in children.items() if "keeper.py" in command and "/scratch/lab-" in command]


def browsers(keeper: psutil.Process) -> list[psutil.Process]:
    """All of the browser's processes; not the shell script by which Debian starts it."""
    return [process for process in keeper.children(recursive=True) if "chrom" in program(process)]


def check_all_completed(answers: list[dict[str, Any]]) -> None:
    assert [answer["status"] for answer in answers] == ["completed"] * len(answers), answers
    assert [answer["result"]["n"] for answer in answers] == list(range(len(answers)))


async def test_the_child_of_a_machine_is_killed(runs: Runs) -> None:
    await runs.start(4)
    await runs.began(2)
    os.kill(runs.children[0], signal.SIGKILL)
    await runs.began(3)
    runs.go()
    check_all_completed(await runs.end())
    assert sorted(runs.starts.values()) == [1, 1, 1, 2]


async def test_the_child_hangs_and_the_clock_goes_on(runs: Runs) -> None:
    await runs.start(1, requestTimeout=8)
    await runs.began(1)
    children = runs.children  # of which one has the Attempt, and another may be waiting for one
    for child in children:
        os.kill(child, signal.SIGSTOP)
    await until(lambda: runs.records(runs.ids[0]), PATIENCE)
    for child in children:
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGCONT)
    await runs.began(2)
    runs.go()
    check_all_completed(await runs.end())
    assert runs.records(runs.ids[0]) == ["failed", "completed"]


async def test_the_browser_alone_is_killed(faulty: Stack, runs: Runs) -> None:
    await runs.start(2)
    await runs.began(2)
    for keeper in keepers(faulty):
        for process in browsers(keeper):
            with contextlib.suppress(psutil.NoSuchProcess):  # it ended with another of them
                process.kill()
    runs.go()
    check_all_completed(await runs.end())
    assert sorted(runs.starts.values()) == [2, 2]


async def test_the_worker_is_killed(faulty: Stack, runs: Runs) -> None:
    await runs.start(6)
    await runs.began(2)
    scratch = [Path(keeper.cmdline()[4]) for keeper in keepers(faulty)]
    killed = service(faulty, "worker")
    killed.kill()
    await until(lambda: not any(folder.exists() or processes_of(folder) for folder in scratch), PATIENCE)
    await runs.began(4)
    runs.go()
    check_all_completed(await runs.end())
    # What ran was interrupted, which does not count, and was tried again; what waited ran once.
    assert sorted(runs.starts.values()) == [1, 1, 1, 1, 2, 2]
    interrupted = [run_id for run_id in runs.ids if runs.records(run_id) == ["interrupted", "completed"]]
    assert len(interrupted) == 2
    await until(lambda: len(list((faulty.data / "workers").iterdir())) == 1, PATIENCE)


async def test_a_killed_worker_leaves_printed_lines_and_missing_ones_are_named(faulty: Stack, tmp_path: Path) -> None:
    go, printed = tmp_path / "go", tmp_path / "printed"
    parameters = {"lines": ["one", "two"], "printed": str(printed), "go": str(go), "then": ["three"]}
    run_id = await faulty.start("prints", parameters)
    await until(printed.exists, PATIENCE)
    place = f"runs/{run_id}/attempts/1"

    async def log() -> str:
        return (await faulty.request("GET", f"{place}/log")).text

    await until(log, PATIENCE, true=lambda text: "two" in text)
    service(faulty, "worker").kill()
    go.touch()
    assert (await faulty.result(run_id))["status"] == "completed"
    attempt = await faulty.get(place)
    assert attempt["status"] == "interrupted"
    assert sorted(attempt["missing"]) == ["log", "screenshot", "trace"]
    assert attempt["missing"]["log"] == "The worker was lost before it had saved the last lines."
    lines = [json.loads(line) for line in (await log()).splitlines()]
    assert [line["message"] for line in lines if line["source"] == "user"] == ["one", "two"]
    assert "was lost" in (await faulty.request("GET", f"{place}/trace")).json()["message"]


async def test_a_run_that_may_be_started_once_is_not_started_again(faulty: Stack, runs: Runs) -> None:
    await runs.start(1, retry={"maximumAttempts": 1})
    await runs.began(1)
    service(faulty, "worker").kill()
    (answer,) = await runs.end()
    assert answer["status"] == "failed"
    assert answer["error"]["details"]["last_error"]["code"] == "script-process-crashed"
    assert runs.starts == {0: 1}


async def test_the_worker_is_asked_to_leave(faulty: Stack, runs: Runs) -> None:
    """It lets running Attempts finish, takes no new one, and what waits goes on at the next worker."""
    await runs.start(4)
    await runs.began(2)
    leaving = service(faulty, "worker")
    leaving.terminate()
    log = faulty.data / "logs" / "worker.log"
    await until(
        lambda: f"worker {socket_name(leaving.pid)}" in log.read_text().rpartition("is leaving")[0][-80:], PATIENCE
    )
    runs.go()
    check_all_completed(await runs.end())
    assert set(runs.starts.values()) == {1}
    assert {tuple(runs.records(run_id)) for run_id in runs.ids} == {("completed",)}


def socket_name(pid: int) -> str:
    return f"{os.uname().nodename}-{pid}"


async def test_the_worker_hangs(faulty: Stack, runs: Runs) -> None:
    """Temporal gives it up; when it wakes, its Attempts are not its own any more."""
    await runs.start(1)
    await runs.began(1)
    worker = service(faulty, "worker")
    worker.suspend()
    try:
        await given_up(faulty, runs.ids[0])
    finally:
        worker.resume()
    await runs.began(2)
    runs.go()
    check_all_completed(await runs.end())
    # Temporal gave the Attempt up; the worker that has woken stops it and writes its record of that.
    await until(lambda: runs.records(runs.ids[0]) == ["interrupted", "completed"], PATIENCE)


async def given_up(stack: Stack, run_id: str) -> None:
    """Wait until Temporal has given the Attempt of this Run up, which nothing but its history tells."""
    handle = (await dev_client(stack.dev.temporal)).get_workflow_handle(run_id)
    timed_out = "activity_task_timed_out_event_attributes"
    await until(
        handle.fetch_history,
        PATIENCE,
        true=lambda history: any(event.HasField(timed_out) for event in history.events),
        every=0.5,
    )


async def test_the_api_is_killed(faulty: Stack, runs: Runs) -> None:
    await runs.start(4)
    await runs.began(2)
    service(faulty, "api").kill()
    runs.go()
    check_all_completed(await runs.end())
    assert set(runs.starts.values()) == {1}


async def test_temporal_is_killed(faulty: Stack, runs: Runs) -> None:
    await runs.start(6)
    await runs.began(2)
    find_temporal(faulty.data).kill()
    runs.go()
    check_all_completed(await runs.end())
    assert set(runs.starts.values()) == {1}


async def test_temporal_cannot_be_reached_for_a_while(faulty: Stack, runs: Runs) -> None:
    await runs.start(4)
    await runs.began(2)
    server = find_temporal(faulty.data)
    server.suspend()
    try:
        await until(lambda: server.status() == psutil.STATUS_STOPPED, PATIENCE)
        # As long as a start takes to be refused. Attempts would be stopped only after twice that time.
        body, headers = {"api": "echo", "parameters": {}}, {"Idempotency-Key": "away"}
        refused = await faulty.request("POST", "run/start", json=body, headers=headers)
        assert refused.status_code == 503, refused.text
        assert refused.json()["retirable"]
        assert runs.starts.total() == 2
    finally:
        server.resume()
    runs.go()
    check_all_completed(await runs.end())
    assert set(runs.starts.values()) == {1}


async def test_user_code_that_forks_and_ignores_signals_ends_at_its_time_out(faulty: Stack) -> None:
    answer = await faulty.run("forks", requestTimeout=1, retry={"maximumAttempts": 1})
    assert answer["error"]["details"]["last_error"]["code"] == "script-timeout"
    assert not [p for p in psutil.process_iter(["cmdline"]) if "forks-of-the-lab" in " ".join(p.info["cmdline"] or [])]
