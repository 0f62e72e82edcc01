"""Whichever process is killed under an Attempt: its Run ends truly, and from outside nothing of its Machine is left.

The short form takes a minute on a machine at rest. The long one is of 1,000 Attempts and 100 kills.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.support.machines import BROWSER, KEEPER, NODE, SUPERVISOR, USER, ZYGOTE, find_process, of_folder
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.rest import Rest
from tests.support.soak import Holding, Soak
from tests.support.stack import Stack

WORKER = "the worker"
OF_A_MACHINE = (USER, ZYGOTE, SUPERVISOR, NODE, BROWSER, KEEPER)
MEMORY = 15.0
"""Megabytes by which the worker's own memory may grow; see tests/system/faults/test_leaks.py."""


@dataclass(frozen=True)
class Course:
    """How much is executed and killed."""

    rounds: int
    """Rounds in which each process is killed, the worker first."""
    more: int
    """Rounds after these without the worker: what it holds is compared before and after them."""
    between: int
    """Attempts before each kill."""


SHORT = Course(rounds=1, more=1, between=2)
LONG = Course(rounds=11, more=4, between=9)


@pytest.fixture
async def stack(tmp_path: Path, site: str) -> AsyncIterator[Stack]:
    """A stack with one Machine, so that it is known whose processes are killed."""
    lab = tmp_path / "projects" / "lab"
    shutil.copytree(REPOSITORY / "tests" / "system" / "projects" / "lab", lab)
    (lab / "Intuned.jsonc").write_text('{"projectName": "lab", "replication": {"maxConcurrentRequests": 1}}')
    async with Stack.up(tmp_path, tmp_path / "projects", site) as stack:
        yield stack


class Killing:
    """Attempts and kills, one after the other, and what is left of those that were killed."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        self.stack = stack
        self.soak = Soak(stack.dev, folder)
        self.attempts = 0
        """Attempts that were begun, without those that were made again after a kill."""
        self.kills = 0
        self._folder = folder
        self._numbers = itertools.count()

    async def round(self, victims: Iterable[str], between: int) -> None:
        for victim in victims:
            for _ in range(between):
                assert (await self.stack.run("echo"))["status"] == "completed"
            self.attempts += between
            await self._kill(victim)

    async def _kill(self, victim: str) -> None:
        """Kill one process of the Machine while it executes an Attempt, or the worker."""
        began, go = (self._folder / f"{what}-{next(self._numbers)}" for what in ("began", "go"))
        run_id = await self.stack.start("until-told", {"began": str(began), "go": str(go)})
        await until(began.exists)
        (keeper,) = self.soak.keepers()
        killed = keeper.ppid() if victim == WORKER else find_process(keeper.pid, victim)
        # A Machine survives its process of user code, and no other.
        doomed = [psutil.Process(killed)] if victim == USER else [keeper, *keeper.children(recursive=True)]
        os.kill(killed, signal.SIGKILL)
        go.touch()  # also for an Attempt that goes on, or is made again
        ended = await Rest(self.stack.http, comes_again=True).result(run_id)
        assert (ended["status"], ended.get("error")) == ("completed", None), victim
        self.attempts += 1
        self.kills += 1
        # Processes are compared by id and start, so that none is taken for another that has got its id.
        await until(lambda: _alive(doomed), true=[].__eq__)

    async def settle(self) -> Holding:
        """Wait until one warm Machine is all that there is, and measure."""
        assert (await self.stack.run("echo"))["status"] == "completed"
        await self.soak.until_at_rest(1)
        return self.soak.holding()

    def strays(self) -> list[int]:
        """Processes that have to do with the stack's data folder and are neither its services nor below them."""
        found = of_folder(self.stack.data)  # looked for first, as the Machine that is there may start further ones
        ours = {process.pid for process in psutil.Process().children(recursive=True)}
        return [pid for pid in found if pid not in ours and psutil.pid_exists(pid)]


def _alive(processes: Iterable[psutil.Process]) -> list[psutil.Process]:
    return [process for process in processes if process.is_running()]


@pytest.mark.parametrize(
    "course",
    [
        pytest.param(SHORT, marks=pytest.mark.timeout(600), id="short"),
        pytest.param(LONG, marks=[pytest.mark.soak, pytest.mark.timeout(3600)], id="long"),
    ],
)
async def test_nothing_is_left_of_attempts_whose_processes_were_killed(
    stack: Stack, tmp_path: Path, course: Course
) -> None:
    killing = Killing(stack, tmp_path)
    for _ in range(course.rounds):
        await killing.round((WORKER, *OF_A_MACHINE), course.between)
    # The worker has loaded its code and filled its caches since it was the one that was killed.
    before = await killing.settle()
    for _ in range(course.more):
        await killing.round(OF_A_MACHINE, course.between)
    after = await killing.settle()
    print(f"{killing.attempts} Attempts, {killing.kills} kills\nbefore {before}\nafter  {after}")

    assert after.worker_memory - before.worker_memory < MEMORY
    assert killing.strays() == []
    assert killing.soak.zombies() == []
    assert len(killing.soak.keepers()) == 1
    assert len(list((stack.data / "workers").iterdir())) == 1, "dead workers leave no folder"

    def same() -> bool:
        return killing.soak.holding().worker_files == before.worker_files

    await until(same)
