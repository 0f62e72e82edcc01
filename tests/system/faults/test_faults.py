"""Whatever dies, hangs or cannot be reached: every accepted Run ends once, truly, and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from callboard.machines.keeper_process import processes_of
from tests.support.polling import until
from tests.support.processes import command_line, find_child, find_temporal
from tests.support.rest import Rest
from tests.support.stack import Stack

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


def check_all_completed(answers: list[dict[str, Any]]) -> None:
    assert [answer["status"] for answer in answers] == ["completed"] * len(answers), answers
    assert [answer["result"]["n"] for answer in answers] == list(range(len(answers)))


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


async def test_a_run_that_may_be_started_once_is_not_started_again(faulty: Stack, runs: Runs) -> None:
    await runs.start(1, retry={"maximumAttempts": 1})
    await runs.began(1)
    service(faulty, "worker").kill()
    (answer,) = await runs.end()
    assert answer["status"] == "failed"
    assert answer["error"]["details"]["last_error"]["code"] == "script-process-crashed"
    assert runs.starts == {0: 1}


@pytest.mark.parametrize("find", [partial(find_child, "api"), find_temporal], ids=["the api", "Temporal"])
async def test_the_api_or_temporal_is_killed(faulty: Stack, runs: Runs, find: Callable[[Path], psutil.Process]) -> None:
    await runs.start(6)
    await runs.began(2)
    find(faulty.data).kill()
    runs.go()
    check_all_completed(await runs.end())
    assert set(runs.starts.values()) == {1}


async def test_the_worker_is_killed_as_a_bulk_starts_failed_runs_again(faulty: Stack) -> None:
    """Each is started again once by what asked for all of them, and no Run that it has made is executed twice."""
    once: dict[str, Any] = {"tags": ["again"], "retry": {"maximumAttempts": 1}}
    failed = [await faulty.start("fail", **once) for _ in range(15)]
    await asyncio.gather(*map(faulty.result, failed))
    asked = {"filter": {"status": "failed", "tag": "again"}}
    counted = partial(faulty.post, "runs/bulk/rerun", {**asked, "dryRun": True})
    await until(counted, PATIENCE, true=lambda count: count["matched"] == len(failed))  # lists come later
    patient = Rest(faulty.http, comes_again=True)

    stored = faulty.data / "artifacts" / "runs" / "lab"

    def made() -> list[Path]:
        return [path for run_id in failed for path in (stored / run_id / "reruns").glob("*.json")]

    bulk_id = (await faulty.post("runs/bulk/rerun", asked))["id"]
    await until(made, PATIENCE)
    service(faulty, "worker").kill()
    assert len(made()) < len(failed), "it was killed in the midst"
    ended = await patient.until(f"runs/bulk/{bulk_id}", lambda bulk: bulk["status"] != "running", within=PATIENCE)
    assert (ended["status"], ended["done"], ended["failed"]) == ("completed", len(failed), [])
    reruns = {run_id: (await patient.get(f"runs/{run_id}"))["reruns"] for run_id in failed}
    assert {len(each) for each in reruns.values()} == {1}
    for (new,) in reruns.values():
        assert (await patient.result(new))["status"] == "failed"
        assert len((await patient.get(f"runs/{new}"))["attempts"]) == 1
