"""The Machines of a pool and their processes. How it decides is tried without processes, in a test of its own."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callboard.machines import keeper
from callboard.machines.machine_attempt import RoomTimeoutError
from callboard.machines.runner import process_tree
from tests.support.automations import automations
from tests.support.machines import ZYGOTE, Lab, attempt_of, find_process, value
from tests.support.polling import until
from tests.support.programs import make_program

PROJECT = automations(
    fine="return 'fine'",
    takes_long_to_clean_up="""
        import asyncio
        async def lasts():
            try:
                await asyncio.sleep(600)
            finally:
                await asyncio.sleep(0.3)
        page.task = asyncio.create_task(lasts())
        await asyncio.sleep(0)
        return "fine"
    """,
    version="from pathlib import Path; return Path('version.txt').read_text()",
    waits_for="""
        import asyncio
        from pathlib import Path
        while not Path(params["file"]).exists():
            await asyncio.sleep(0.01)
        return params["file"]
    """,
)


def keepers(lab: Lab) -> int:
    """How many Machines of this lab there are below this process; other tests' stacks have their own."""
    commands = [process_tree.read(f"/proc/{pid}/cmdline") for pid in keeper.descendants(os.getpid())]
    return sum(b"callboard/machines/keeper.py" in told and str(lab.scratch).encode() in told for told in commands)


async def test_an_attempt_that_may_not_wait_longer_gives_its_turn_to_the_next(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(1), lab.version(PROJECT)
    run = lab.runner(version, pool)
    first = asyncio.ensure_future(run("waits_for", {"file": str(tmp_path / "go")}))
    await until(lambda: pool.busy == 1)
    second = asyncio.ensure_future(run("fine", wait_until=datetime.now(UTC) + timedelta(seconds=0.1)))
    patient = attempt_of("fine")
    third = asyncio.ensure_future(pool.run_attempt(version, patient))
    with pytest.raises(RoomTimeoutError):
        await second
    assert patient.waits
    (tmp_path / "go").touch()
    assert value(await first) == str(tmp_path / "go")
    assert value(await third) == "fine"


async def test_an_idle_machine_stops_and_new_work_starts_another(lab: Lab) -> None:
    pool = lab.pool(idle=0.2)
    run = lab.runner(PROJECT, pool)
    assert value(await run("fine")) == "fine"
    await until(lambda: pool.slots[0].machine is None and keepers(lab) == 0)
    lab.assert_clean()
    report = await run("fine")
    assert (value(report), report.machine) == ("fine", "lab-1-2")


async def test_a_machine_changes_to_another_version_that_wants_the_same_browser(lab: Lab) -> None:
    pool = lab.pool()
    old = lab.version({**PROJECT, "version.txt": "old"}, version="1")
    new = lab.version({**PROJECT, "version.txt": "new"}, version="2")
    hook = "async def setup_context(*, api_name, api_parameters, cdp_url): pass"
    hooked = lab.version({**PROJECT, "version.txt": "hook", "hooks/setup_context.py": hook}, version="3")
    small = lab.version({**PROJECT, "version.txt": "small"}, version="4", width=300)
    versions = (old, new, new, old, hooked, hooked, small)
    reports = [await lab.runner(version, pool)("version") for version in versions]
    assert [value(report) for report in reports] == ["old", "new", "new", "old", "hook", "hook", "small"]
    assert [report.machine for report in reports] == [*["lab-1-1"] * 4, "lab-1-2", "lab-1-2", "lab-1-3"]
    assert keepers(lab) == 1


async def test_of_the_version_before_nothing_is_left_but_driver_and_browser(lab: Lab) -> None:
    pool, counts, zygotes = lab.pool(), list[int](), set[int]()
    for number in range(3):
        run = lab.runner(lab.version({**PROJECT, "version.txt": str(number)}, version=str(number)), pool)
        assert value(await run("version")) == str(number)
        machine = await lab.settled(pool)
        assert machine is not None
        commands = [process_tree.read(f"/proc/{pid}/cmdline") for pid in keeper.descendants(machine.keeper_pid)]
        counts.append(sum(b"\0zygote\0" in command for command in commands))
        zygotes.add(find_process(machine.keeper_pid, ZYGOTE))
    assert counts == [counts[0]] * 3, "the zygote with its box, and the process that waits for its Attempt"
    assert len(zygotes) == 3


async def test_the_size_may_change_while_machines_are_busy(lab: Lab, tmp_path: Path) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    given = [attempt_of("waits_for", {"file": str(tmp_path / f"go-{n}")}) for n in range(5)]

    def begun() -> int:
        return sum(attempt.start is not None for attempt in given)

    attempts = [asyncio.create_task(pool.run_attempt(version, attempt)) for attempt in given]
    await until(lambda: begun() == 2)
    await pool.resize(1)
    assert keepers(lab) == 2, "busy ones finish"
    (tmp_path / "go-0").touch()
    await attempts[0]
    assert keepers(lab) == 1, "and are stopped before their Attempt is given back"
    (tmp_path / "go-1").touch()
    await attempts[1]
    await until(lambda: begun() == 3)
    assert keepers(lab) == 1
    await pool.resize(3)
    await until(lambda: begun() == 5)
    assert keepers(lab) == 3
    for n in range(5):
        (tmp_path / f"go-{n}").touch()
    await asyncio.gather(*attempts)
    await pool.resize(1)
    assert (keepers(lab), len(pool.slots)) == (1, 1)


async def test_a_wait_for_the_clean_up_starts_one_more_machine(lab: Lab) -> None:
    pool, version = lab.pool(2), lab.version(PROJECT)
    run = lab.runner(version, pool)
    machines = [(await run(api)).machine for api in ("takes_long_to_clean_up", "fine")]
    assert machines == ["lab-1-1", "lab-1-1"]
    await until(lambda: all(slot.ready_for(version) for slot in pool.slots) and len(pool.slots) == 2)
    assert (pool.busy, keepers(lab)) == (0, 2)
    reports = await asyncio.gather(run("fine"), run("fine"))
    assert {report.machine for report in reports} == {"lab-1-1", "lab-2-1"}
    assert keepers(lab) == 2


async def test_one_that_cannot_be_started_ahead_fails_nothing(
    lab: Lab, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = tmp_path / "broken"
    browser = make_program(tmp_path / "browser", f'[ -e {broken} ] && exit 1; exec {lab.launch.browser} "$@"')
    pool = lab.pool(2, launch=replace(lab.launch, browser=browser))
    run = lab.runner(PROJECT, pool)
    await run("takes_long_to_clean_up")
    broken.touch()
    report = await run("fine")
    assert (value(report), report.machine) == ("fine", "lab-1-1")
    await until(lambda: "none could be started ahead" in caplog.text)
    assert (value(await run("fine")), pool.warm) == ("fine", 1)
