"""Control groups hold a Machine to its limits where its keeper is not quick enough, and end all of it at one word."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from callboard.machines import cgroups, keeper, keeper_process
from callboard.machines.machine_limits import MOST_THREADS
from tests.support.keepers import KeeperHandle
from tests.support.polling import block_until

MIB = 1024**2
TAKES_MEMORY = "held = bytearray(1000 * 1024**2)"
FORKS = """
import os, time
made = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(600)
        made += 1
except OSError as error:
    open("refused", "w").write(f"{made} {error.strerror}")
    time.sleep(600)
"""
DETACHES = """
import os, time
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        os.execve("/bin/sleep", ["sleep", "600"], {})
time.sleep(600)
"""


@pytest.fixture(scope="module")
def delegated() -> Path:
    folder = cgroups.find_delegated()
    if folder is None:
        pytest.skip("No control group (cgroup v2, with the controllers memory and pids) is delegated to these tests.")
    cgroups.prepare(folder)
    return folder


Keep = Callable[[str, int], KeeperHandle]


@pytest.fixture
def keep(delegated: Path, tmp_path: Path) -> Iterator[Keep]:
    """Starts a keeper over a child in a group; whatever it leaves is ended."""
    scratch = tmp_path / "scratch" / "lab-1"
    scratch.parent.mkdir()
    group = cgroups.group_of(delegated, scratch)
    yield lambda code, memory: KeeperHandle(scratch, code, memory, group=group)
    keeper_process.clean_up(scratch, group)
    assert not group.exists()


def test_a_keeper_makes_a_group_and_removes_it(keep: Keep) -> None:
    kept = keep("print('fine')", 300 * MIB)
    kept.hear()
    assert kept.hear() == {"exited": 0, "tail": "fine\n"}
    kept.ends()
    assert kept.group is not None
    assert not kept.group.exists()


def test_memory_is_limited_while_the_keeper_does_not_look(keep: Keep) -> None:
    kept = keep(TAKES_MEMORY, 300 * MIB)
    kept.hear()
    assert kept.group is not None
    kept.process.send_signal(signal.SIGSTOP)
    block_until(lambda: kept.group is not None and cgroups.memory_kills(kept.group))
    kept.process.send_signal(signal.SIGCONT)
    assert kept.hear() == {"limit": "memory", "used": 300 * MIB}
    assert kept.hear()["exited"] == -signal.SIGKILL
    kept.ends()


def test_tasks_are_limited_while_the_keeper_does_not_look(keep: Keep) -> None:
    kept = keep(FORKS, 10_000 * MIB)
    kept.hear()
    kept.process.send_signal(signal.SIGSTOP)
    block_until((kept.scratch / "refused").exists)
    assert (kept.scratch / "refused").read_text() == f"{MOST_THREADS - 1} {os.strerror(11)}"
    kept.process.send_signal(signal.SIGCONT)
    assert kept.hear()["limit"] == "processes"
    kept.ends()


def test_what_a_killed_keeper_leaves_is_found_by_its_group(keep: Keep) -> None:
    """Also what has neither a parent nor anything else that leads to its Machine."""
    kept = keep(DETACHES, 300 * MIB)
    kept.hear()
    block_until(lambda: len(keeper.descendants(kept.process.pid)) == 6)
    left = keeper.descendants(kept.process.pid)
    kept.process.kill()
    kept.process.wait()
    keeper_process.clean_up(kept.scratch, kept.group)
    assert [pid for pid in left if Path(f"/proc/{pid}").exists()] == []


def test_kills_are_counted(tmp_path: Path) -> None:
    assert cgroups.memory_kills(tmp_path) == 0
    (tmp_path / "memory.events").write_text("low 0\noom 4\noom_kill 3\noom_group_kill 0\n")
    assert cgroups.memory_kills(tmp_path) == 3
