"""Whether a browser's processes run is seen without a word to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import pytest

from callboard.machines.runner.process_tree import BrowserProcesses
from tests.support.polling import until

TWO = "import subprocess; below = subprocess.Popen(['sleep', '600']); print(below.pid, flush=True); below.wait()"


@pytest.fixture
def pids() -> Iterator[tuple[int, int]]:
    """A process below ours, as the driver is, and one below that, as the browser is."""
    with subprocess.Popen([sys.executable, "-c", TWO], stdout=subprocess.PIPE, process_group=0) as driver:
        assert driver.stdout is not None
        yield driver.pid, int(driver.stdout.readline())
        os.killpg(driver.pid, signal.SIGKILL)


@pytest.mark.parametrize("victim", [0, 1])
async def test_one_that_is_killed_does_not_run_though_nobody_has_waited_for_it(
    pids: tuple[int, int], victim: int
) -> None:
    processes = BrowserProcesses(pids[1])
    assert processes.all_run
    os.kill(pids[victim], signal.SIGKILL)
    await until(lambda: not processes.all_run)


@pytest.mark.parametrize("victim", [0, 1])
async def test_one_that_is_stopped_does_not_run_until_it_goes_on(pids: tuple[int, int], victim: int) -> None:
    processes = BrowserProcesses(pids[1])
    os.kill(pids[victim], signal.SIGSTOP)
    await until(lambda: not processes.all_run)
    os.kill(pids[victim], signal.SIGCONT)
    await until(lambda: processes.all_run)


def test_of_what_is_not_below_us_nothing_can_be_told() -> None:
    assert not BrowserProcesses(os.getppid()).all_run
    assert not BrowserProcesses(2**22 - 1).all_run
