"""The folder of an Attempt is the next one's only where nothing in it was touched."""

from __future__ import annotations

import compileall
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from machines.runner.folders import CLOCK_OF_FILES, Workspace
from tests.support.machines import Lab, attempt_spec, unnoticed, value
from tests.support.polling import until

PROJECT = {
    "api/where.py": """
        import os

        async def automation(page):
            places = os.curdir, os.environ["TMPDIR"], os.environ["HOME"]
            found = os.stat(os.getcwd())
            return {"folder": [found.st_ino, found.st_ctime], "files": [sorted(os.listdir(place)) for place in places]}
    """,
    "api/writes.py": """
        from pathlib import Path

        async def automation(page):
            Path("written.txt").write_text("x")
    """,
}


def _project(folder: Path) -> Path:
    (folder / "api").mkdir(parents=True)
    (folder / "api" / "list.py").write_text("one\n")
    (folder / "words.txt").write_text("words")
    (folder / "link").symlink_to("words.txt")
    return folder


async def _after(workspace: Workspace, work: Callable[[Path], object]) -> bool:
    """Whether it can be used again after an Attempt that did this in it."""
    newest = max(path.lstat().st_ctime_ns for path in workspace.root.parent.rglob("*"))
    await until(lambda: time.time_ns() > newest + 20_000_000)  # the clock of files has moved on
    workspace.begin()
    work(workspace.root)
    return workspace.is_as_made()


def _read(root: Path) -> object:
    return [path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()]


def _write_the_same_size_at_the_same_time(root: Path) -> None:
    file = root / "words.txt"
    before = file.stat()
    file.write_text("WORDS")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def _write_and_undo(root: Path) -> None:
    (root / "api" / "new.py").write_text("")
    (root / "api" / "new.py").unlink()


def _rename_and_back(root: Path) -> None:
    (root / "words.txt").rename(root / "other.txt")
    (root / "other.txt").rename(root / "words.txt")


def _write_to_tmp(root: Path) -> None:
    (root.parent / "tmp" / "left.txt").write_text("x")


def _write_to_home(root: Path) -> None:
    (root.parent / "home" / ".left").write_text("x")


def _replace(root: Path) -> None:
    (root / "words.txt").unlink()
    (root / "words.txt").write_text("words")


def _turn_a_link(root: Path) -> None:
    (root / "link").unlink()
    (root / "link").symlink_to("/etc/hosts")


def _remove(root: Path) -> None:
    (root / "words.txt").unlink()


def _lock(root: Path) -> None:
    (root / "api").chmod(0)


async def test_what_was_only_read_can_be_used_again(tmp_path: Path) -> None:
    workspace = Workspace.prepare(_project(tmp_path / "project"), tmp_path / "attempt-1")
    assert await _after(workspace, _read)
    assert await _after(workspace, _read)


@pytest.mark.parametrize(
    "work",
    [
        _write_the_same_size_at_the_same_time,
        _write_and_undo,
        _rename_and_back,
        _write_to_tmp,
        _write_to_home,
        _replace,
        _turn_a_link,
        _remove,
        _lock,
    ],
)
async def test_what_was_touched_cannot(tmp_path: Path, work: Callable[[Path], object]) -> None:
    workspace = Workspace.prepare(_project(tmp_path / "project"), tmp_path / "attempt-1")
    assert await _after(workspace, _read)
    assert not await _after(workspace, work)
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
    pool = lab.pool()

    async def run(api: str) -> object:
        return value(await pool.run_attempt(version, attempt_spec(api), unnoticed))

    first, second = await run("where"), await run("where")
    assert first == second
    await run("writes")
    third = await run("where")
    assert isinstance(first, dict)
    assert isinstance(third, dict)
    assert third["folder"] != first["folder"]
    assert third["files"] == first["files"]
