import asyncio
import json
import shutil
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from callboard.dev import publishing
from callboard.dev.events import Event
from callboard.dev.publishing import Publisher
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.projects.manifest import read_current
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.factory import open_store
from callboard.storage.store import Store
from tests.support.package_box import package_box
from tests.support.polling import until
from tests.support.present import present

API = "async def automation(page, params=None, **_):\n    return 1\n"
PATIENCE = timedelta(seconds=60)
SEEN_WITHIN = timedelta(seconds=0.3)
MAX_MACHINES = 8
"""The limit on the Machines of all projects together."""


class World:
    """A folder of projects, a store, and what was said."""

    def __init__(self, folder: Path) -> None:
        self.parent = folder / "projects"
        self.store: Store = open_store(str(folder / "store"))
        self.environments = Environments(folder / "environments", package_box())
        self.lines: list[str] = []
        self.deleted: list[str] = []

    async def delete(self, project: str) -> None:
        self.deleted.append(project)
        await self.store.delete(object_keys.current_version(project))

    def write(self, project: str, path: str = "api/hello.py", text: str = API) -> Path:
        file = self.parent / project / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        return file

    def project(self, folder: str, **settings: Any) -> Path:
        self.write(folder)
        return self.write(folder, "Intuned.json", json.dumps(settings)).parent

    async def version(self, project: str) -> str | None:
        """As the api and the workers see it."""
        current = await read_current(self.store, project)
        return current.version if current is not None else None

    async def line(self, *words: str) -> str:
        """The next line, which has these words in it."""
        await until(lambda: self.lines)
        said = self.lines.pop(0)
        assert all(word in said for word in words), said
        assert "\n" not in said
        return said

    def publisher(self) -> Publisher:
        return Publisher(
            self.parent,
            self.store,
            self.environments,
            self.lines.append,
            self.delete,
            seen_within=SEEN_WITHIN,
            max_machines=MAX_MACHINES,
        )

    @asynccontextmanager
    async def published(self, *projects: str) -> AsyncGenerator[Publisher]:
        """Everything is deployed, also these projects, and from now on everything is told."""
        for project in projects:
            self.project(project)
        async with self.publisher() as publisher:
            await publisher.wait_for_first_deploys(PATIENCE)
            assert publisher.pending == []
            publisher.start_reporting()
            yield publisher


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_what_is_there_is_deployed_and_one_that_is_broken_stops_no_other(world: World):
    world.project("a-good")
    world.project("b-broken", apiAccess={"enabled": "yes"})
    world.project("c-good")
    async with world.published() as publisher:
        assert [manifest.project for manifest in publisher.deployed] == ["a-good", "c-good"]
        (broken,) = publisher.broken
        assert broken.folder == world.parent / "b-broken"
        assert "apiAccess.enabled" in broken.reason
        assert await world.version("c-good") == publisher.deployed[1].version
        assert world.lines == []


async def test_a_project_without_machines_is_deployed_once_another_has_fewer(world: World):
    world.project("a", replication={"maxConcurrentRequests": MAX_MACHINES})
    async with world.published() as publisher:
        world.project("b", replication={"maxConcurrentRequests": 2})
        await world.line("NOT DEPLOYED b", f"have {MAX_MACHINES} (a: {MAX_MACHINES}), so 0 can be had")
        assert [broken.folder.name for broken in publisher.broken] == ["b"]
        world.project("a", replication={"maxConcurrentRequests": MAX_MACHINES - 2})
        await world.line("Published a")
        await world.line("Published b")
        assert publisher.broken == []


async def test_a_second_project_of_a_name_waits_until_the_first_has_left(world: World):
    world.project("one", projectName="shop")
    world.project("two", projectName="shop", replication={"maxConcurrentRequests": 2})
    async with world.published() as publisher:
        (first,) = publisher.deployed
        (broken,) = publisher.broken
        assert (broken.folder.name, broken.served_version) == ("two", None)
        assert str(world.parent / "one") in broken.reason
        shutil.rmtree(world.parent / "one")
        await world.line("Project shop", "one no longer exists", "unless there is a folder of it again")
        await world.line("Published shop")
        assert await world.version("shop") not in {None, first.version}
        assert publisher.broken == []


async def test_who_reads_that_a_version_is_published_starts_runs_of_it(world: World):
    world.project("shop")
    catalog = Catalog(world.store, max_age=SEEN_WITHIN)  # as the api has it

    async def has_told() -> bool:
        await catalog.get_current("shop")  # what it knows is as old as it may be
        return bool(world.lines)

    async with world.published():
        for number in range(3):
            world.write("shop", "api/hello.py", f"{API}# {number}")
            await until(has_told)
            said = await world.line("Published shop")
            current = await catalog.get_current("shop")
            assert present(current).version in said


async def test_a_change_is_published_and_told_in_one_line(world: World):
    async with world.published("shop") as publisher:
        before = await world.version("shop")
        world.write("shop", "api/list.py")
        world.write("shop", "Intuned.toml", "")
        line = await world.line("Published shop", "APIs: hello, list", "warning: Intuned.toml: ignored")
        after = await world.version("shop")
        assert after != before
        assert f"version {after}" in line
        assert [manifest.version for manifest in publisher.deployed] == [after]


async def test_a_change_that_changes_nothing_says_nothing(world: World):
    async with world.published("shop"):
        world.write("shop")  # the same text once more
        world.write("shop", "output/result.json", "{}")
        world.write("shop", "api/list.py")
        await world.line("Published shop", "hello, list")
        assert world.lines == []


async def test_a_change_that_breaks_a_project_keeps_the_last_version(world: World):
    async with world.published("shop") as publisher:
        before = await world.version("shop")
        assert before is not None
        world.write("shop", "Intuned.json", '{"apiAccess": ')
        await world.line("NOT DEPLOYED shop", "Intuned.json", f", column 15. Version {before} is still served.")
        assert (await world.version("shop"), [project.served_version for project in publisher.broken]) == (
            before,
            [before],
        )
        world.write("shop", "Intuned.json", "{}")
        await world.line("Project shop", "valid again", before)
        assert publisher.broken == []
        world.write("shop", "api/hello.py", API + "# more\n")
        await world.line("Published shop")
        assert await world.version("shop") != before


async def test_a_file_that_does_not_parse_any_more_breaks_the_project(world: World):
    world.project("shop")
    world.write("shop", "api/hello.py", "import undeclared_module\n")  # of which a deploy warns, too
    async with world.published():
        before = await world.version("shop")
        world.write("shop", "api/hello.py", "async def automation(page:\n")
        await world.line("NOT DEPLOYED shop", "api/hello.py, line 1", f"Version {before} is still served.")
        world.write("shop", "utils.py", "(")
        await world.line("NOT DEPLOYED shop", "api/hello.py, line 1", "utils.py, line 1")
        assert await world.version("shop") == before
        world.write("shop", "utils.py", "")
        world.write("shop", "api/hello.py")
        assert "NOT DEPLOYED" not in (await world.line("shop"))


async def test_a_file_that_has_never_parsed_holds_up_no_change_of_others(world: World):
    world.project("shop")
    world.write("shop", "api/draft.py", "async def automation(page:\n")
    async with world.published() as publisher:
        assert [warning.file for warning in publisher.deployed[0].warnings] == ["api/draft.py"]
        world.write("shop", "api/hello.py", API + "# more\n")
        await world.line("Published shop", "warning: api/draft.py, line 1")


async def test_the_same_mistake_is_told_once(world: World):
    async with world.published("shop") as publisher:
        world.write("shop", "Intuned.json", '{"apiAccess": 7}')
        await world.line("NOT DEPLOYED shop", "apiAccess")
        world.write("shop", "api/list.py")
        world.project("other")
        await world.line("Published other")
        assert [manifest.project for manifest in publisher.deployed] == ["other", "shop"]
        world.write("shop", "Intuned.json", '{"replication": 7}')
        await world.line("NOT DEPLOYED shop", "replication")
        assert world.lines == []


async def test_a_folder_that_is_removed_takes_its_project_along_once_it_is_told(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publishing, "_REMOVAL_SECONDS", 0.5)
    async with world.published("shop", "other") as publisher:
        shutil.rmtree(world.parent / "shop")
        assert isinstance(said := await world.line("shop", "no longer exists: in 0.5 seconds, the project is"), Event)
        assert (said.kind, said.fields["project"]) == ("folder-removed", "shop")
        await world.line("Deleted shop")
        assert world.deleted == ["shop"]
        assert [manifest.project for manifest in publisher.deployed] == ["other"]
        world.project("shop")
        await world.line("Published shop")


async def test_a_folder_that_comes_back_keeps_its_project(world: World):
    async with world.published("shop") as publisher:
        (first,) = publisher.deployed
        (world.parent / "shop").rename(world.parent.parent / "aside")
        await world.line("shop", "no longer exists: in 30 seconds")
        (world.parent.parent / "aside").rename(world.parent / "shop")
        await world.line("shop", "valid again", first.version)
        assert world.deleted == []


async def test_a_renamed_folder_takes_its_project_along_unless_it_has_a_name(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    is_over, wait = asyncio.Event(), publishing.ProjectFolder.wait_for_change

    async def wait_until_told(self: Any, seconds: float) -> bool:
        if seconds > 20:  # before a project is deleted
            await is_over.wait()
            return False
        return await wait(self, seconds)

    monkeypatch.setattr(publishing.ProjectFolder, "wait_for_change", wait_until_told)
    world.project("named", projectName="shop")
    async with world.published("blog"):
        (world.parent / "named").rename(world.parent / "renamed")
        (world.parent / "blog").rename(world.parent / "weblog")
        for words, times in (("no longer exists", 2), ("Published shop", 1), ("Published weblog", 1)):
            await until(lambda words=words, times=times: sum(words in line for line in world.lines) == times)
        world.lines.clear()
        is_over.set()
        await world.line("Deleted blog")
        assert world.deleted == ["blog"]
        assert await world.version("shop") is not None


async def test_nothing_is_deleted_when_the_folder_above_is_gone_or_another_one(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(publishing, "_REMOVAL_SECONDS", 0.1)
    async with world.published("shop"):
        world.parent.rename(world.parent.parent / "aside")
        world.parent.mkdir()
        await world.line("shop", "there is no project in", "is still served")
        world.project("blog")
        await world.line("Published blog")
        assert world.deleted == []


async def test_a_folder_without_its_files_is_served_on(world: World):
    async with world.published("shop"):
        for path in ("Intuned.json", "api/hello.py"):
            (world.parent / "shop" / path).unlink()
        (world.parent / "shop/api").rmdir()
        await world.line("shop", "there is no project in", "is still served")
        assert world.deleted == []


async def test_a_project_that_gets_another_name_is_served_under_both(world: World):
    async with world.published("shop"):
        version = await world.version("shop")
        world.project("shop", projectName="market")
        await world.line("Project shop", "is now project market", f"version {version} of shop is still served")
        await world.line("Published market")
        assert await world.version("shop") == version
        assert await world.version("market") is not None
        world.project("other", projectName="shop")
        await world.line("Published shop")


async def test_what_changes_during_a_deploy_is_deployed_afterwards(world: World, monkeypatch: pytest.MonkeyPatch):
    world.project("shop")
    packed, go_on = asyncio.Event(), asyncio.Event()

    async def held(folder: Path, *rest: Any, **options: Any) -> Any:
        manifest = await deploy(folder, *rest, **options)
        packed.set()
        await go_on.wait()
        return manifest

    async with world.published():
        monkeypatch.setattr(publishing, "deploy", held)
        world.write("shop", "api/first.py")
        await packed.wait()
        world.write("shop", "api/second.py")
        go_on.set()
        await world.line("APIs: first, hello")
        await world.line("APIs: first, hello, second")


async def test_a_long_deploy_holds_up_nothing_else(world: World, monkeypatch: pytest.MonkeyPatch):
    world.project("library")
    world.project("shop")
    go_on = asyncio.Event()

    async def slow(folder: Path, *rest: Any, **options: Any) -> Any:
        if folder.name == "shop":
            await go_on.wait()
        return await deploy(folder, *rest, **options)

    monkeypatch.setattr(publishing, "deploy", slow)
    async with world.publisher() as publisher:
        await until(lambda: publisher.deployed)
        await publisher.wait_for_first_deploys(timedelta())
        assert [folder.name for folder in publisher.pending] == ["shop"]
        publisher.start_reporting()
        world.write("library", "api/list.py")
        await world.line("Published library")
        go_on.set()
        await world.line("Published shop")
        assert publisher.pending == []


async def test_leaving_breaks_off_what_is_being_deployed(world: World, monkeypatch: pytest.MonkeyPatch):
    world.project("shop")

    async def endless(*_: Any) -> Any:
        await asyncio.Event().wait()

    monkeypatch.setattr(publishing, "deploy", endless)
    async with asyncio.timeout(20):
        async with world.publisher() as publisher:
            await publisher.wait_for_first_deploys(timedelta())
    assert await world.version("shop") is None


async def test_a_broken_project_says_which_version_of_an_earlier_start_is_served(world: World):
    folder = world.project("shop")
    manifest = await deploy(folder, world.store)
    (folder / "api" / "hello.py").unlink()
    async with world.published() as publisher:
        assert [broken.served_version for broken in publisher.broken] == [manifest.version]


async def test_a_store_that_refuses_ends_a_start_and_is_tried_again_later(
    world: World, monkeypatch: pytest.MonkeyPatch
):
    world.project("shop")
    refuses = True

    async def deploy_if_it_may(*arguments: Any, **options: Any) -> Any:
        if refuses:
            raise StoreError("The artifact store is full.")
        return await deploy(*arguments, **options)

    monkeypatch.setattr(publishing, "deploy", deploy_if_it_may)
    monkeypatch.setattr(publishing, "_STORE_RETRY_SECONDS", 0.1)
    with pytest.raises(StoreError, match="is full"):
        async with world.publisher() as publisher:
            await publisher.wait_for_first_deploys(PATIENCE)
    refuses = False
    async with world.published():
        refuses = True
        world.write("shop", "api/list.py")
        await world.line("NOT DEPLOYED shop", "is full. It is tried again.")
        refuses = False
        await world.line("Published shop", "hello, list")


async def test_a_defect_is_not_hidden(world: World, monkeypatch: pytest.MonkeyPatch):
    async with world.published("shop") as publisher:

        async def defect(*_: Any, **_options: Any) -> Any:
            raise ZeroDivisionError

        monkeypatch.setattr(publishing, "deploy", defect)
        world.write("shop", "api/list.py")
        async with asyncio.timeout(30):
            with pytest.raises(ExceptionGroup) as raised:
                await publisher.wait_for_failure()
    assert raised.group_contains(ZeroDivisionError)
