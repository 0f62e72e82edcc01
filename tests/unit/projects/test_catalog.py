"""The catalog answers from memory what cannot have changed, and asks once for many."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from callboard.storage.store import Entry
from tests.support.polling import until
from tests.support.project_folders import Deployed, Make


class Counting(FolderStore):
    """A folder store that counts its reads, and can hold them up."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.reads: Counter[str] = Counter()
        self.open = asyncio.Event()
        self.open.set()
        self.error: StoreError | None = None
        self.lists = 0
        self._held = "current.json"

    def hold(self, name: str) -> None:
        """Hold up reads of objects of this name until `open` is set."""
        self._held = name
        self.open.clear()

    async def get(self, key: str) -> bytes | None:
        name = key.rpartition("/")[2]
        self.reads[name] += 1
        if name == self._held:
            await self.open.wait()
        if self.error is not None:
            raise self.error
        return await super().get(key)

    def entries(self, prefix: str, *, after: str = "") -> AsyncIterator[Entry]:
        self.lists += 1
        return super().entries(prefix, after=after)


@pytest.fixture
def store(tmp_path: Path) -> Counting:
    return Counting(tmp_path / "artifacts")


@pytest.fixture
def counting(store: Counting) -> Counting:
    return store


@pytest.fixture
def catalog(counting: Counting) -> Catalog:
    """For which no answer is young."""
    return Catalog(counting, timedelta(0))


async def test_projects_are_those_that_are_deployed(counting: Counting, catalog: Catalog, deployed: Deployed):
    assert await catalog.list_projects() == []
    await deployed(name="b")
    await deployed(name="a-2")
    await counting.put("projects/half/versions/0/bundle.tar.gz", b"")
    await counting.put("projects/Not A Name/current.json", b"")
    assert await catalog.list_projects() == ["a-2", "b"]


async def test_current_is_the_manifest_of_the_deployed_version(
    make_project: Make, counting: Counting, catalog: Catalog
):
    assert await catalog.get_current("shop") is None
    folder = make_project()
    first = await deploy(folder, counting)
    assert await catalog.get_current("shop") == first
    (folder / "api" / "more.py").write_text("")
    second = await deploy(folder, counting)
    assert await catalog.get_current("shop") == second
    assert await catalog.get_manifest("shop", first.version) == first


@pytest.mark.parametrize("listed", [False, True])
async def test_a_deploy_during_a_read_is_seen_by_the_next_reader(
    make_project: Make, counting: Counting, tmp_path: Path, listed: bool, catalog: Catalog
):
    folder = make_project()
    first = await deploy(folder, counting)
    if listed:
        await catalog.list_projects()
    counting.hold("current.json")
    slow = asyncio.create_task(catalog.get_current("shop"))
    await until(lambda: counting.reads["current.json"] == 1)
    (folder / "api" / "more.py").write_text("")
    second = await deploy(folder, FolderStore(tmp_path / "artifacts"))  # whose reads are not held up
    if listed:
        await catalog.list_projects()
    counting.open.set()
    assert await slow in (first, second)
    assert await catalog.get_current("shop") == second


async def test_what_changes_without_a_deploy_is_seen_after_a_while(
    counting: Counting, monkeypatch: pytest.MonkeyPatch, catalog: Catalog, deployed: Deployed
):
    await deployed()
    assert await catalog.get_current("shop") is not None
    await counting.delete(object_keys.current_version("shop"))
    assert await catalog.get_current("shop") is not None
    monkeypatch.setattr("callboard.projects.catalog._TRUSTED", timedelta(0))
    assert await catalog.get_current("shop") is None
    assert await catalog.list_projects() == []


async def test_callers_at_the_same_time_share_one_read(counting: Counting, catalog: Catalog, deployed: Deployed):
    manifest = await deployed()
    counting.reads.clear()
    counting.open.clear()
    callers = [asyncio.create_task(catalog.get_current("shop")) for _ in range(20)]
    await until(lambda: counting.reads["current.json"] == 1)
    # Whoever gives up takes the answer from nobody, also the one who asked first.
    callers[0].cancel()
    callers[7].cancel()
    await asyncio.wait([callers[0], callers[7]])
    counting.open.set()
    answers = await asyncio.gather(*callers, return_exceptions=True)
    assert [answer for answer in answers if answer == manifest] == [manifest] * 18
    assert counting.reads == {"last-deploy.json": 1, "current.json": 1, "manifest.json": 1}


async def test_a_name_that_cannot_be_a_projects_is_no_project_and_no_read(counting: Counting):
    catalog = Catalog(counting)
    for name in ("../../etc", "A", "", "a/b", "\0"):
        assert await catalog.get_current(name) is None
        assert await catalog.get_manifest(name, "0" * 16) is None
    assert await catalog.get_manifest("shop", "../x") is None
    assert counting.reads == {}


async def test_a_version_that_does_not_exist_may_exist_later(counting: Counting, deployed: Deployed):
    catalog = Catalog(counting)
    manifest = await deployed()
    key = object_keys.manifest("shop", manifest.version)
    await counting.delete(key)
    assert await catalog.get_manifest("shop", manifest.version) is None
    await counting.put(key, manifest.to_bytes())
    assert await catalog.get_manifest("shop", manifest.version) == manifest


async def test_what_is_damaged_or_lost_in_the_store_says_so(counting: Counting, deployed: Deployed):
    manifest = await deployed()
    catalog = Catalog(counting)
    await counting.put(object_keys.manifest("shop", manifest.version), b'{"project": "shop"}')
    with pytest.raises(
        StoreError,
        match=r"The manifest\.json of project 'shop' .* is damaged \(version: .*\)\. Deploy the project again\.",
    ):
        await catalog.get_current("shop")
    await counting.delete(object_keys.manifest("shop", manifest.version))
    with pytest.raises(StoreError, match=r"is deployed, but its manifest is not .*\. Deploy the project again\."):
        await catalog.get_current("shop")
    await counting.put(object_keys.current_version("shop"), b"")
    with pytest.raises(StoreError, match=r"The current\.json of project 'shop' .* is damaged"):
        await catalog.get_current("shop")
