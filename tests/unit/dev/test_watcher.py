import asyncio
import shutil
from collections.abc import AsyncGenerator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from callboard.dev import watcher as changes_module
from callboard.dev.watcher import watch_changes
from tests.support.polling import until


class Watch:
    """What `changes` has told so far."""

    def __init__(self) -> None:
        self.told: list[frozenset[str] | None] = []
        self.reported: list[str] = []

    @property
    def names(self) -> set[str]:
        return {name for names in self.told if names for name in names}


@asynccontextmanager
async def watched(parent: Path) -> AsyncGenerator[Watch]:
    watch = Watch()

    async def follow() -> None:
        async with aclosing(watch_changes(parent, watch.reported.append)) as told:
            async for names in told:
                watch.told.append(names)

    task = asyncio.create_task(follow())
    await asyncio.sleep(0)
    try:
        yield watch
    finally:
        task.cancel()
        await asyncio.wait({task})
        assert task.cancelled() or task.exception() is None


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    for project in ("shop", "library"):
        (tmp_path / "projects" / project / "api").mkdir(parents=True)
        (tmp_path / "projects" / project / "api" / "list.py").write_text("1")
    return tmp_path / "projects"


async def test_a_change_is_told_by_the_name_of_its_project_folder(parent: Path):
    async with watched(parent) as watch:
        (parent / "shop" / "api" / "list.py").write_text("2")
        await until(lambda: watch.told)
        assert watch.told == [frozenset({"shop"})]


LEFT_OUT = [
    *(".git/index", "env/lib/x.py", ".venv/lib/python3.13/site-packages/x/y.py", "output/result.json", ".env"),
    *("api/__pycache__/list.cpython-313.pyc", "api/.list.py.swp", "api/list.py~", "api/.#list.py", "README.md"),
]
"""Some of what tests/unit/projects/test_files.py has."""


async def test_what_a_deploy_leaves_out_is_not_told(parent: Path):
    (parent / "shop" / "env").mkdir()
    (parent / "shop" / "env" / "pyvenv.cfg").write_text("")
    async with watched(parent) as watch:
        for path in LEFT_OUT:
            (parent / "shop" / path).parent.mkdir(parents=True, exist_ok=True)
            (parent / "shop" / path).write_text("changed")
        (parent / "library" / "api" / "list.py").write_text("2")  # after it, so the other would have been told by now
        await until(lambda: watch.told)
        assert watch.names == {"library"}


async def test_a_package_installed_in_a_projects_own_environment_is_told(parent: Path):
    packages = parent / "shop" / ".venv" / "lib" / "python3.13" / "site-packages"
    packages.mkdir(parents=True)
    async with watched(parent) as watch:
        (packages / "attrs-25.3.0.dist-info").mkdir()
        await until(lambda: watch.told)
        assert watch.names == {"shop"}


async def test_a_burst_of_changes_is_told_once(parent: Path):
    async with watched(parent) as watch:
        for n in range(200):
            (parent / "shop" / "api" / f"{n}.py").write_text("1")
            (parent / "library" / "api" / f"{n}.py").write_text("1")
        await until(lambda: watch.told)
        (parent / "shop" / "last.py").write_text("1")
        await until(lambda: watch.told[-1] == frozenset({"shop"}))
        assert watch.names == {"shop", "library"}
        assert len(watch.told) < 20


async def test_folders_that_appear_disappear_or_get_another_name_are_told(parent: Path):
    async with watched(parent) as watch:
        (parent / "new" / "api").mkdir(parents=True)
        await until(lambda: "new" in watch.names)
        (parent / "new" / "api" / "list.py").write_text("1")
        (parent / "shop").rename(parent / "market")
        await until(lambda: watch.names >= {"shop", "market"})
        watch.told.clear()
        shutil.rmtree(parent / "new")
        await until(lambda: "new" in watch.names)
        watch.told.clear()
        (parent / "market" / "api" / "list.py").write_text("2")
        await until(lambda: "market" in watch.names)


async def test_a_project_folder_that_is_a_symbolic_link_is_watched(parent: Path, tmp_path: Path):
    shutil.move(parent / "shop", tmp_path / "elsewhere")
    (parent / "shop").symlink_to(tmp_path / "elsewhere")
    async with watched(parent) as watch:
        (tmp_path / "elsewhere" / "api" / "list.py").write_text("2")
        await until(lambda: watch.told)
        assert watch.told == [frozenset({"shop"})]


async def test_when_the_whole_folder_comes_back_all_may_have_changed(parent: Path):
    async with watched(parent) as watch:
        shutil.rmtree(parent)
        await until(lambda: None in watch.told)
        watch.told.clear()
        (parent / "shop" / "api").mkdir(parents=True)
        await until(lambda: None in watch.told)
        watch.told.clear()
        (parent / "shop" / "api" / "list.py").write_text("2")
        await until(lambda: "shop" in watch.names)


async def test_without_notifications_it_looks_again_and_again_and_says_so(
    parent: Path, monkeypatch: pytest.MonkeyPatch
):
    real = changes_module.awatch

    def limited(*paths: Path, force_polling: bool | None = None, **options: Any) -> Any:
        if not force_polling:
            raise OSError("OS file watch limit reached.")
        return real(*paths, force_polling=True, **options)

    monkeypatch.setattr(changes_module, "awatch", limited)
    async with watched(parent) as watch:
        await until(lambda: len(watch.told) == 2)  # None: something may have been missed
        (parent / "shop" / "api" / "new.py").write_text("1")
        await until(lambda: "shop" in watch.names)
    (line,) = watch.reported
    assert "OS file watch limit reached" in line
