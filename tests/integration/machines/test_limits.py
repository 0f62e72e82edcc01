"""A Machine that takes too much is ended by its keeper, and its Attempt may save what it leaves."""

from __future__ import annotations

import asyncio

import pytest

from callboard.machines import keeper
from callboard.machines.resource_usage import Meter
from tests.support.keepers import GIB, SLEEPS, TELL, Keep, KeeperHandle, wakes
from tests.support.machines import ENDLESS, Lab, attempt_of
from tests.support.polling import block_until, until

IN_THE_WHOLE_TREE = "import os; [os.fork() for _ in range(2)]; x = bytearray(b'x') * 60_000_000"
SHARED = "import mmap; m = mmap.mmap(-1, 300_000_000); m.write(b'x' * 300_000_000)"
MEMORY_FILE = "import os; fd = os.memfd_create('m'); [os.write(fd, b'x' * 1_000_000) for _ in range(250)]"
PROCESSES = "import os\nfor _ in range(1005):\n    if os.fork() == 0: break"
THREADS = """
import threading, time
threading.stack_size(65536)
for _ in range(2600):
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
"""
EMPTY_FILES = "[open(f'{n}', 'w').close() for n in range(100_100)]"
FILES = "[open(f'{n}', 'wb').write(b'x' * 4_000_000) for n in range(3)]"


@pytest.mark.parametrize(
    ("code", "limits", "limit", "most"),
    [
        pytest.param(IN_THE_WHOLE_TREE, {"memory_limit": 200_000_000}, "memory", 200_000_000, id="in the whole tree"),
        pytest.param(SHARED, {"memory_limit": 200_000_000}, "memory", 200_000_000, id="shared memory"),
        pytest.param(MEMORY_FILE, {"memory_limit": 200_000_000}, "memory", 200_000_000, id="memory file, not mapped"),
        pytest.param(PROCESSES, {"memory_limit": 16 * GIB}, "processes", 1000, id="processes"),
        pytest.param(THREADS, {}, "processes", 2500, id="threads"),
        pytest.param(EMPTY_FILES, {}, "files", 100_000, id="files that take no space"),
        pytest.param(FILES, {"disk_limit": 10_000_000}, "disk", 10_000_000, id="many files"),
    ],
)
def test_what_takes_too_much_is_ended(keep: Keep, code: str, limits: dict[str, int], limit: str, most: int) -> None:
    kept = keep(f"{code}\n{SLEEPS}", **limits)
    kept.hear()
    passed = kept.hear()
    assert passed["limit"] == limit
    assert passed["used"] > most
    kept.ends()


def test_the_worker_is_told_how_much_memory_is_taken(keep: Keep) -> None:
    kept = keep(f"x = bytearray(b'x') * 60_000_000\n{SLEEPS}")
    while (told := kept.hear_any().get("memory", 0)) < 60_000_000:
        pass
    assert told < 200_000_000
    kept.hang_up()
    kept.ends()


def test_no_file_can_be_larger_than_all_may_be(keep: Keep) -> None:
    kept = keep("open('x', 'wb').write(b'x' * 12_000_000)", disk_limit=10_000_000)
    kept.hear()
    ended = kept.hear()
    assert ended["exited"] == 1
    assert "File too large" in ended["tail"]
    kept.ends()


def test_an_idle_machine_is_looked_at_rarely(keep: Keep) -> None:
    says = ("", "tell(kind='idle')", "tell(kind='idle'); tell(kind='busy')")
    machines = [keep(f"{TELL}{said}\nopen('said', 'w').close()\n{SLEEPS}") for said in says]
    block_until(lambda: all((each.scratch / "said").exists() for each in machines))
    pids = [each.process.pid for each in machines]
    before = [wakes(pid) for pid in pids]
    block_until(lambda: wakes(pids[0]) - before[0] >= 12)
    _, rarely, often = (wakes(pid) - earlier for pid, earlier in zip(pids, before, strict=True))
    assert rarely <= 6
    assert often >= 8
    for each in machines:
        each.hear()
        each.hang_up()
        each.ends()


async def test_a_machine_is_idle_unless_an_attempt_runs(lab: Lab, keep: Keep) -> None:
    busy, machine = keep(SLEEPS), await lab.machine(lab.version(ENDLESS))
    assert await _wakes(machine.keeper_pid, busy) <= 5
    attempt = attempt_of("awaits")
    running = asyncio.create_task(machine.run_attempt(attempt))
    await until(lambda: attempt.start)
    assert await _wakes(machine.keeper_pid, busy) >= 7
    running.cancel()
    await asyncio.wait({running})
    await machine.wait_clean()
    assert await _wakes(machine.keeper_pid, busy) <= 5
    busy.hear()
    busy.hang_up()
    busy.ends()


async def _wakes(keeper: int, busy: KeeperHandle) -> int:
    """How often this keeper wakes while a busy one does so ten times."""
    before, busy_before = wakes(keeper), wakes(busy.process.pid)
    await until(lambda: wakes(busy.process.pid) - busy_before >= 10)
    return wakes(keeper) - before


def test_an_idle_machine_that_takes_too_much_is_ended(keep: Keep) -> None:
    kept = keep(f"{TELL}tell(kind='idle'); x = bytearray(b'x') * 250_000_000; {SLEEPS}", memory_limit=200_000_000)
    kept.hear()
    assert kept.hear()["limit"] == "memory"
    kept.ends()


ATTEMPT = TELL + 'tell(kind="begin", file="", limit=0)\n'
HOG = """
x = bytearray(b"x") * 250_000_000
said = json.loads(keeper.recv(100))
assert (said["limit"], said["used"] > 200_000_000) == ("memory", True)
"""


def test_an_attempt_over_its_memory_limit_may_save_what_it_leaves(keep: Keep) -> None:
    kept = keep(ATTEMPT + HOG + "del x; print('saved')", memory_limit=200_000_000)
    kept.hear()
    passed = kept.hear()
    assert (passed["limit"], passed["used"] > 200_000_000) == ("memory", True)
    end = kept.hear()
    assert (end["exited"], end["tail"].endswith("saved\n")) == (0, True)
    assert kept.hear()["ended"]["peak_memory"] > 200_000_000
    kept.ends()


def test_one_that_stays_over_it_is_ended_before_one_that_saves_must_end(keep: Keep) -> None:
    """What only saves, and is within the limit again, has three seconds."""
    kept = keep(ATTEMPT + HOG + "time.sleep(2.5)", memory_limit=200_000_000)
    kept.hear()
    passed = kept.hear()
    assert (passed["limit"], passed["used"] > 200_000_000) == ("memory", True)
    assert "peak_memory" in kept.hear()["ended"]
    kept.ends()


def test_shared_memory_counts_once_at_most(keep: Keep) -> None:
    code = (
        "import mmap, os, time; m = mmap.mmap(-1, 60_000_000); m.write(b'x' * 60_000_000); os.fork(); time.sleep(600)"
    )
    kept = keep(code)
    kept.hear()
    block_until(lambda: len(keeper.descendants(kept.process.pid)) == 2)
    assert Meter(kept.process.pid).look(GIB) < 300_000_000
    assert 60_000_000 < Meter(kept.process.pid).look(50_000_000) < 100_000_000
    kept.hang_up()
    kept.ends()
