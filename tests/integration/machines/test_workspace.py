"""The folder of an Attempt is the next one's only where nothing in it was touched."""

from __future__ import annotations

import compileall
import subprocess
import time
from pathlib import Path

import pytest

from callboard.machines.runner.folders import CLOCK_OF_FILES, Workspace
from tests.support.automations import automations
from tests.support.machines import Lab, value
from tests.support.polling import until

PROJECT = automations(
    where="""
        import os
        places = os.curdir, os.environ["TMPDIR"], os.environ["HOME"]
        found = os.stat(os.getcwd())
        return {"folder": [found.st_ino, found.st_ctime], "files": [sorted(os.listdir(place)) for place in places]}
    """,
    writes='from pathlib import Path; Path("written.txt").write_text("x")',
)


def _project(folder: Path) -> Path:
    (folder / "api").mkdir(parents=True)
    (folder / "api" / "list.py").write_text("one\n")
    (folder / "words.txt").write_text("words")
    (folder / "link").symlink_to("words.txt")
    return folder


async def _after(workspace: Workspace, script: str) -> bool:
    """Whether it can be used again after an Attempt that did this in it."""
    newest = max(path.lstat().st_ctime_ns for path in workspace.root.parent.rglob("*"))
    await until(lambda: time.time_ns() > newest + 20_000_000)  # the clock of files has moved on
    workspace.begin()
    _do(script, workspace.root)
    return workspace.is_as_made()


def _do(script: str, folder: Path) -> None:
    subprocess.run(["sh", "-c", script], cwd=folder, check=True, stdout=subprocess.DEVNULL)


READS = "cat words.txt link api/*"


@pytest.mark.parametrize(
    ("script", "stays"),
    [
        (READS, True),
        ('before=$(stat -c %y words.txt); printf WORDS > words.txt; touch -d "$before" words.txt', False),
        ("touch api/new.py; rm api/new.py", False),
        ("mv words.txt other.txt; mv other.txt words.txt", False),
        ("touch ../tmp/left.txt", False),
        ("touch ../home/.left", False),
        ("rm words.txt; printf words > words.txt", False),
        ("ln -sfn /etc/hosts link", False),
        ("rm words.txt", False),
        ("chmod 0 api", False),
    ],
)
async def test_only_what_was_not_touched_can_be_used_again(tmp_path: Path, script: str, *, stays: bool) -> None:
    workspace = Workspace.prepare(_project(tmp_path / "project"), tmp_path / "attempt-1")
    assert await _after(workspace, READS)
    assert await _after(workspace, script) is stays
    workspace.remove()


async def test_nor_can_what_was_made_in_the_very_moment_in_which_it_was_entered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = Workspace.prepare(_project(tmp_path / "project"), tmp_path / "attempt-1")
    made = (workspace.root / "words.txt").stat().st_ctime_ns
    monkeypatch.setattr(time, "clock_gettime_ns", {CLOCK_OF_FILES: made}.__getitem__)
    workspace.begin()
    assert not workspace.is_as_made()


async def test_a_machine_gives_it_to_the_next_attempt(lab: Lab) -> None:
    version = lab.version(PROJECT)
    compileall.compile_dir(version.folder, quiet=2)  # as a version is: else Python writes into the copy
    run = lab.runner(version)
    first, second = value(await run("where")), value(await run("where"))
    assert first == second
    await run("writes")
    third = value(await run("where"))
    assert third["folder"] != first["folder"]
    assert third["files"] == first["files"]
