"""Machines that cannot start say why, and leave nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from schemas.errors import MachineError
from tests.support.machines import Lab, attempt_spec, unnoticed, value

PROJECT = {"api/fine.py": "async def automation(page): return 'fine'"}


def program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


async def test_a_browser_that_is_missing_is_named(lab: Lab) -> None:
    pool = lab.pool(launch=replace(lab.launch, browser=Path("/nowhere/browser")))
    for number in (1, 2):
        with pytest.raises(MachineError, match=rf"Machine lab-1-{number} did not start: .*/nowhere/browser"):
            await pool.run_attempt(lab.version(PROJECT), attempt_spec("fine"), unnoticed)
        lab.assert_clean()
        assert pool.busy == 0


async def test_what_a_browser_says_before_it_ends_is_told(lab: Lab, tmp_path: Path) -> None:
    browser = program(tmp_path / "browser", "echo 'libnss3.so: cannot open shared object file' >&2; exit 127")
    with pytest.raises(MachineError, match=r"(?s)did not start: .*libnss3\.so: cannot open shared object file"):
        await lab.pool(launch=replace(lab.launch, browser=browser)).run_attempt(
            lab.version(PROJECT), attempt_spec("fine"), unnoticed
        )
    lab.assert_clean()


async def test_a_browser_that_never_gets_ready_is_given_up(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("machines.machine_start._START_WITHIN", 2.0)
    browser = program(tmp_path / "browser", "trap '' TERM INT HUP; (trap '' TERM; sleep 600) & sleep 600")
    with pytest.raises(MachineError, match="did not start within 2 seconds"):
        await lab.pool(launch=replace(lab.launch, browser=browser)).run_attempt(
            lab.version(PROJECT), attempt_spec("fine"), unnoticed
        )
    lab.assert_clean()


async def test_the_last_line_of_a_child_that_fails_is_told(lab: Lab) -> None:
    version = replace(lab.version(PROJECT), folder=Path("/nowhere/project"))
    with pytest.raises(MachineError, match=r"did not start: .*No such file or directory: '/nowhere/project'"):
        await lab.pool().run_attempt(version, attempt_spec("fine"), unnoticed)
    lab.assert_clean()


async def test_a_scratch_folder_that_cannot_be_made_is_named(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    pool = lab.pool(launch=replace(lab.launch, scratch=tmp_path / "file"))
    with pytest.raises(MachineError, match=r"did not start: .*Not a directory"):
        await pool.run_attempt(lab.version(PROJECT), attempt_spec("fine"), unnoticed)
    lab.assert_clean()


async def test_an_interpreter_that_cannot_be_run_is_an_error(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/nowhere/python")
    with pytest.raises(MachineError, match=r"did not start: .*/nowhere/python"):
        await lab.pool().run_attempt(lab.version(PROJECT), attempt_spec("fine"), unnoticed)
    lab.assert_clean()


async def test_after_a_failed_start_another_may_succeed(lab: Lab, tmp_path: Path) -> None:
    browser = tmp_path / "browser"
    pool = lab.pool(launch=replace(lab.launch, browser=browser))
    version = lab.version(PROJECT)
    with pytest.raises(MachineError):
        await pool.run_attempt(version, attempt_spec("fine"), unnoticed)
    browser.symlink_to(lab.launch.browser)
    assert value(await pool.run_attempt(version, attempt_spec("fine"), unnoticed)) == "fine"


async def test_machines_leave_no_descriptor_in_the_worker(lab: Lab) -> None:
    version = lab.version({**PROJECT, "api/exits.py": "import os\nasync def automation(page): os._exit(1)"})
    broken = replace(lab.launch, browser=Path("/nowhere/browser"))

    async def some(name: str) -> None:
        machine = await lab.machine(version, f"{name}-1")
        assert value(await machine.run_attempt(attempt_spec("fine"), unnoticed)) == "fine"
        await machine.close()
        machine = await lab.machine(version, f"{name}-2")
        assert (await machine.run_attempt(attempt_spec("exits"), unnoticed)).error is not None
        await machine.close()
        with pytest.raises(MachineError):
            await lab.pool(launch=broken, project=name).run_attempt(version, attempt_spec("fine"), unnoticed)

    await some("first")  # the loop keeps a few of its own from now on
    before = list(Path("/proc/self/fd").iterdir())
    await some("second")
    assert len(list(Path("/proc/self/fd").iterdir())) <= len(before)
