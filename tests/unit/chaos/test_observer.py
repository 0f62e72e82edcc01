"""Executions are seen from outside: when they begin, how they end, and when they are killed."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.observer import Observer
from tests.chaos.record import Execution
from tests.support.polling import until
from tests.support.repository import REPOSITORY

RECORDING = REPOSITORY / "tests" / "chaos" / "projects" / "recording.py"
USER_CODE = """
import sys
from recording import executed

with executed("api"):
    if sys.argv[1] == "raises":
        raise ValueError
    if sys.argv[1] == "waits":
        print("begun", flush=True)
        sys.stdin.read()
"""


@pytest.fixture
def observer(tmp_path: Path) -> Iterator[Observer]:
    with Observer(tmp_path / "exchange") as observer:
        yield observer


class UserCode:
    """Processes of user code, with what it imports."""

    def __init__(self, folder: Path, exchange: Path) -> None:
        folder.mkdir()
        (folder / "recording.py").write_text(RECORDING.read_text())
        (folder / "deployed.py").write_text('PROJECT = "market"\nNUMBER = 4\n')
        runtime = "class Info:\n    run_id, parent_run_id = 'run-1', None\n\n\nrun_info = Info\n"
        (folder / "intuned_runtime.py").write_text(runtime)
        (folder / "code.py").write_text(USER_CODE)
        self._folder = folder
        self._environment = os.environ | {"CHAOS_FOLDER": str(exchange), "PYTHONPATH": str(folder)}

    def start(self, what: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, self._folder / "code.py", what],
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )


@pytest.fixture
def user_code(tmp_path: Path, observer: Observer) -> UserCode:
    return UserCode(tmp_path / "code", observer.folder)


async def ended(observer: Observer) -> Execution:
    await until(lambda: observer.executions)
    (execution,) = observer.executions
    assert (execution.run_id, execution.project, execution.deploy, execution.kind) == ("run-1", "market", 4, "api")
    return execution


@pytest.mark.parametrize(("what", "how"), [("returns", "returned"), ("raises", "raised")])
async def test_it_says_how_it_ended(observer: Observer, user_code: UserCode, what: str, how: str) -> None:
    before = time.monotonic()
    with user_code.start(what) as process:
        process.communicate()
    execution = await ended(observer)
    assert execution.how == how
    assert before < execution.began <= execution.ended < time.monotonic()


async def test_one_that_is_killed_has_lived_until_then(observer: Observer, user_code: UserCode) -> None:
    with user_code.start("waits") as process:
        assert process.stdout is not None
        await asyncio.to_thread(process.stdout.readline)
        await until(lambda: observer.living)
        seen = time.monotonic()
        await until(lambda: not observer.executions and observer.living)
        process.kill()
    killed = time.monotonic()
    execution = await ended(observer)
    assert execution.how is None
    assert observer.living == []
    assert execution.began < seen
    assert execution.ended < killed
