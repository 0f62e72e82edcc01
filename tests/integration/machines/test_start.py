"""Machines that cannot start say why, and leave nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from callboard.schemas.errors import MachineError
from tests.support.automations import automations
from tests.support.machines import Lab, attempt_of, value
from tests.support.programs import make_program

PROJECT = automations(fine="return 'fine'", exits="import os; os._exit(1)")


@pytest.mark.parametrize(
    ("browser", "says"),
    [
        (None, r"Machine lab-1-1 did not start: .*/browser"),
        ("echo 'libnss3.so: no such file' >&2; exit 127", r"(?s)did not start: .*libnss3\.so: no such file"),
        ("trap '' TERM INT HUP; (trap '' TERM; sleep 600) & sleep 600", r"did not start within 2 seconds"),
    ],
    ids=["missing", "ends", "never gets ready"],
)
async def test_a_machine_whose_browser_does_not_start_says_why(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, browser: str | None, says: str
) -> None:
    if "within 2 seconds" in says:
        monkeypatch.setattr("callboard.machines.machine_start._START_WITHIN", 2.0)
    if browser is not None:
        make_program(tmp_path / "browser", browser)
    await assert_fails(lab, says, browser=tmp_path / "browser")


async def assert_fails(lab: Lab, says: str, **launch: Any) -> None:
    with pytest.raises(MachineError, match=says):
        await lab.runner(PROJECT, lab.pool(launch=replace(lab.launch, **launch)))("fine")
    lab.assert_clean()


async def test_the_last_line_of_a_child_that_fails_is_told(lab: Lab) -> None:
    version = replace(lab.version(PROJECT), folder=Path("/nowhere/project"))
    with pytest.raises(MachineError, match=r"did not start: .*No such file or directory: '/nowhere/project'"):
        await lab.runner(version)("fine")
    lab.assert_clean()


async def test_a_scratch_folder_that_cannot_be_made_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    await assert_fails(lab, r"did not start: .*Not a directory", scratch=tmp_path / "file")


async def test_an_interpreter_that_cannot_be_run_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    await assert_fails(lab, r"did not start: .*/nowhere/python")


async def test_after_a_failed_start_another_may_succeed(lab: Lab, tmp_path: Path) -> None:
    pool = lab.pool(launch=replace(lab.launch, browser=tmp_path / "browser"))
    run = lab.runner(PROJECT, pool)
    with pytest.raises(MachineError):
        await run("fine")
    assert pool.busy == 0
    (tmp_path / "browser").symlink_to(lab.launch.browser)
    report = await run("fine")
    assert (value(report), report.machine) == ("fine", "lab-1-2")


async def test_machines_leave_no_descriptor_in_the_worker(lab: Lab) -> None:
    version = lab.version(PROJECT)
    broken = replace(lab.launch, browser=Path("/nowhere/browser"))

    async def some(name: str) -> None:
        machine = await lab.machine(version, f"{name}-1")
        assert value(await machine.run_attempt(attempt_of("fine"))) == "fine"
        await machine.close()
        machine = await lab.machine(version, f"{name}-2")
        assert (await machine.run_attempt(attempt_of("exits"))).error is not None
        await machine.close()
        with pytest.raises(MachineError):
            await lab.pool(launch=broken, project=name).run_attempt(version, attempt_of("fine"))

    await some("first")  # the loop keeps a few of its own from now on
    before = list(Path("/proc/self/fd").iterdir())
    await some("second")
    assert len(list(Path("/proc/self/fd").iterdir())) <= len(before)
