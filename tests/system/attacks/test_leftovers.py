"""Nothing that an Attempt leaves anywhere is found by the next one, of the same project or of another."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from callboard.machines.runner import process_tree
from tests.support.polling import until
from tests.system.attacks.installation import PROJECTS, Installation

LEFT = "left-by-an-attempt"


def module_of_the_attacker(name: str) -> Any:
    """A module that the attacking project and its test share."""
    spec = importlib.util.spec_from_file_location(name, PROJECTS / "attacker" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patched:
        patched.syspath_prepend(str(PROJECTS / "attacker"))
        spec.loader.exec_module(module)
    return module


remains = module_of_the_attacker("remains")


@pytest.fixture(autouse=True)
def clean(installation: Installation) -> Iterator[None]:
    """Remove what an attack that has got through has left on the host, before and after each test."""
    remove_from_host(installation)
    yield
    remove_from_host(installation)


def remove_from_host(installation: Installation) -> None:
    for place in remains.FOLDERS:
        with contextlib.suppress(OSError):
            Path(place, LEFT).unlink()
    for pid in daemons(installation):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 9)
    remains.remove_from_kernel()


def daemons(installation: Installation) -> list[int]:
    """Processes that an Attempt of the installation has left, by the name that they have given themselves."""
    name = f"{LEFT}-in{str(installation.folder).replace('/', '-')}".encode()
    return [pid for pid in process_tree.pids() if process_tree.read(f"/proc/{pid}/cmdline").startswith(name)]


async def test_the_next_attempt_finds_nothing(installation: Installation) -> None:
    leaving = await installation.run("leaves")
    assert leaving["status"] == "completed", leaving
    assert [place for place in remains.FOLDERS if os.path.lexists(f"{place}/{LEFT}")] == [], "the host was written to"
    assert daemons(installation) == []
    assert await installation.attack("finds") == []


async def test_the_attack_fills_what_it_looks_at(installation: Installation) -> None:
    """Else the test above would show nothing: an Attempt finds what it has left itself."""
    told = await installation.attack("leaves-and-finds")
    assert {"daemon", "cookie jar", "interval timer", "umask", "thread", "cookie", "storage"} <= set(told["found"])
    assert {"shared memory", "semaphore", "message queue", "abstract socket"} <= set(told["found"])
    assert {"/tmp", "/var/tmp", "/dev/shm"} <= set(told["left"])


async def test_another_project_finds_nothing(installation: Installation) -> None:
    await installation.attack("leaves")
    assert await installation.attack("finds", project="another") == []


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
@pytest.mark.parametrize("killed", ["keeper.py ", "main.py supervisor ", "main.py zygote "])
async def test_a_daemon_does_not_outlive_what_is_killed(installation: Installation, killed: str) -> None:
    """Neither the keeper nor another of the Machine's processes has to live for its processes to end."""
    await installation.still_works()
    run_id = await installation.begin("leaves-and-waits")
    await until(lambda: daemons(installation), every=0.1)
    its = installation.processes_of("attacker")
    victims = [pid for pid, command in its.items() if killed in command and "bwrap" not in command.split(" ")[0]]
    # Forks of the zygote have its command line: the first one in the tree is the zygote, and it alone is killed.
    assert victims != []
    os.kill(victims[0], 9)
    await installation.rest.cancel(run_id)  # a zygote may end unnoticed until its Attempt ends
    await until(lambda: not daemons(installation), every=0.1)
    await until(lambda: not [pid for pid in its if _lives(pid)])
    await installation.still_works()


@pytest.mark.kinds("plain-full", "plain-open", "root-full")
async def test_a_daemon_does_not_outlive_a_killed_worker(installation: Installation) -> None:
    await installation.deploy("lost")
    await installation.serve("lost-worker", "lost")
    await installation.begin("leaves-and-waits", project="lost")
    await until(lambda: daemons(installation), every=0.1)
    installation.processes["lost-worker"].kill()
    await until(lambda: not daemons(installation), every=0.1)
    await until(lambda: not installation.processes_of("lost"), every=0.1)
    await installation.stop("lost-worker")


def _lives(pid: int) -> bool:
    state = process_tree.fields_of(process_tree.read(f"/proc/{pid}/stat"))[:1]
    return Path(f"/proc/{pid}").exists() and state not in ([], [b"Z"])
