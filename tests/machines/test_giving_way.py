"""After a good check, a Machine gives way to the Attempt that follows on another one, unless it is wanted itself.

In these tests it would do so for minutes: checks change how long, where they run.
"""

from __future__ import annotations

import asyncio
from typing import Any

import psutil
import pytest

from contract.flow.attempt import AttemptKind
from machines.order import Report, Version
from machines.pool import Pool
from tests.machines.lab import Lab, order, unnoticed, value
from tests.machines.test_pool import keepers
from tests.polling import until

PROJECT = {
    "api/fine.py": "async def automation(page): return 'fine'",
    "auth-sessions/create.py": "async def create(page, params): return True",
    "auth-sessions/check.py": """
        import sys

        async def check(page):
            sys.modules["_callboard_runner.child"]._GIVE_WAY = 600
            return True
    """,
}
BAD = {
    "false": PROJECT["auth-sessions/check.py"].replace("return True", "return False"),
    "raises": PROJECT["auth-sessions/check.py"].replace("return True", "raise ValueError('no such element')"),
}


async def check(pool: Pool, version: Version, *, gives_way: bool = True, **fields: Any) -> Report:
    return await pool.run(version, order("", kind=AttemptKind.CHECK, gives_way=gives_way, **fields), unnoticed)


async def assert_gives_way(pool: Pool) -> None:
    machine = pool.slots[0].machine
    assert machine
    settling = asyncio.create_task(machine.settled())
    await asyncio.wait({settling}, timeout=0.5)
    settling.cancel()
    assert not machine.is_settled


async def assert_settles(pool: Pool) -> None:
    machine = pool.slots[0].machine
    assert machine
    await machine.settled()
    assert (machine.is_settled, machine.unfit) == (True, None)


async def test_it_gives_way_until_it_is_wanted(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    good = await check(pool, version)
    await assert_gives_way(pool)
    assert (value(good), pool.busy) == (True, 0)
    report = await pool.run(version, order("fine"), unnoticed)
    assert (value(report), report.machine) == ("fine", good.machine)
    await assert_settles(pool)


async def test_the_attempt_that_follows_at_once_on_the_same_machine_begins_there(lab: Lab) -> None:
    """It is wanted before it could give way, perhaps."""
    pool, version = lab.pool(), lab.version(PROJECT)
    machines: list[str] = []
    for _ in range(3):
        machines.append((await check(pool, version)).machine)
        machines.append((await pool.run(version, order("fine"), unnoticed)).machine)
    assert set(machines) == {"lab-1-1"}


async def test_that_one_was_wanted_does_not_hold_for_the_next(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    await check(pool, version)
    await check(pool, version)
    await assert_gives_way(pool)
    assert value(await pool.run(version, order("fine"), unnoticed)) == "fine"


async def test_with_another_machine_the_attempt_that_follows_is_there(lab: Lab) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    await asyncio.gather(*(pool.run(version, order("fine"), unnoticed) for _ in range(2)))
    await until(lambda: all(slot.ready_for(version) for slot in pool.slots))
    assert keepers(lab) == 2
    good = await check(pool, version)
    report = await pool.run(version, order("fine"), unnoticed)
    assert value(report) == "fine"
    assert report.machine != good.machine


@pytest.mark.parametrize("how", BAD)
async def test_after_a_check_that_is_not_good_it_does_not(lab: Lab, how: str) -> None:
    pool, version = lab.pool(), lab.version({**PROJECT, "auth-sessions/check.py": BAD[how]})
    await check(pool, version)
    await assert_settles(pool)


async def test_nor_after_one_that_no_attempt_follows(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    assert value(await check(pool, version, gives_way=False)) is True
    await assert_settles(pool)


async def test_if_nobody_wants_it_it_cleans_up_after_a_while(lab: Lab) -> None:
    as_it_is = "async def check(page): return True"
    pool, version = lab.pool(), lab.version({**PROJECT, "auth-sessions/check.py": as_it_is})
    assert value(await check(pool, version)) is True
    await assert_settles(pool)


async def test_an_attempt_that_is_canceled_as_it_wants_it_leaves_it_as_it_was(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    good = await check(pool, version)
    await assert_gives_way(pool)
    attempt = asyncio.create_task(pool.run(version, order("fine"), unnoticed))
    await until(lambda: pool.busy)
    attempt.cancel()
    await asyncio.wait({attempt})
    assert (attempt.cancelled(), pool.busy) == (True, 0)
    report = await pool.run(version, order("fine"), unnoticed)
    assert (value(report), report.machine) == ("fine", good.machine)


@pytest.mark.parametrize("how", ["pool", "machine", "killed"])
async def test_what_ends_it_meanwhile_leaves_nothing(lab: Lab, how: str) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    await check(pool, version)
    await assert_gives_way(pool)
    machine = pool.slots[0].machine
    assert machine
    match how:
        case "pool":
            await pool.close()
        case "machine":
            await machine.close()
        case _:
            (child,) = psutil.Process(machine.keeper_pid).children()
            child.kill()
    await until(lambda: keepers(lab) == 0)
    await until(lambda: list(lab.scratch.iterdir()) == [])
    lab.assert_clean()


async def test_one_that_was_killed_meanwhile_fails_no_attempt(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    await check(pool, version)
    await assert_gives_way(pool)
    machine = pool.slots[0].machine
    assert machine
    (child,) = psutil.Process(machine.keeper_pid).children()
    child.kill()
    report = await pool.run(version, order("fine"), unnoticed)
    assert (value(report), report.machine) == ("fine", "lab-1-2")


async def test_one_that_is_wanted_and_cannot_be_told_any_more_is_unfit(lab: Lab) -> None:
    pool, version = lab.pool(), lab.version(PROJECT)
    await check(pool, version)
    await assert_gives_way(pool)
    machine = pool.slots[0].machine
    assert machine
    machine._frames.close()  # as when its child has hung up a moment ago
    await machine.settled(wanted=True)
    assert machine.unfit == "its process ended"
