"""A version folder is whole or not there, whoever else is at work or has died."""

import asyncio
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.manifest import Manifest
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import StoreError
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from tests.support.polling import until
from tests.support.project_folders import Make
from tests.support.repository import REPOSITORY


class Gated(FolderStore):
    """A folder store that counts downloads, and can hold them up."""

    def __init__(self, root: Path) -> None:
        super().__init__(root)
        self.downloads = 0
        self.open = asyncio.Event()
        self.open.set()

    async def get_file(self, key: str, path: Path) -> bool:
        self.downloads += 1
        await self.open.wait()
        return await super().get_file(key, path)


@pytest.fixture
def gated(tmp_path: Path) -> Gated:
    return Gated(tmp_path / "artifacts")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "versions"


@pytest.fixture
async def manifest(make_project: Make, gated: Gated) -> Manifest:
    return await deploy(make_project({"utils/a.py": "x = 1"}), gated)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_a_version_is_fetched_once_and_then_there(gated: Gated, root: Path, manifest: Manifest):
    folders = VersionFolders(gated, root)
    folder = await folders.ensure("shop", manifest.version)
    assert folder == root / "shop" / manifest.version
    assert names(folder) == ["Intuned.jsonc", "api", "utils"]
    assert names(folder / "utils") == ["__pycache__", "a.py"]
    assert await folders.ensure("shop", manifest.version) == folder
    assert await VersionFolders(gated, root).ensure("shop", manifest.version) == folder
    assert gated.downloads == 1
    assert names(root / "shop") == [manifest.version]


FETCH = (
    "import asyncio, sys; from pathlib import Path\n"
    "from callboard.projects.versions import VersionFolders; from callboard.storage.folder import FolderStore\n"
    "asyncio.run(VersionFolders(FolderStore(Path(sys.argv[1])), Path(sys.argv[2])).ensure('shop', sys.argv[3]))\n"
)


def fetch(store: Path, root: Path, version: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", FETCH, store, root, version], cwd=REPOSITORY)


def test_processes_of_one_root_do_not_disturb_each_other(root: Path, tmp_path: Path, manifest: Manifest):
    processes = [fetch(tmp_path / "artifacts", root, manifest.version) for _ in range(3)]
    try:
        assert [process.wait(60) for process in processes] == [0, 0, 0]
    finally:
        for process in processes:
            process.kill()
            process.wait(10)
    assert names(root / "shop") == [manifest.version]


async def test_what_a_killed_process_left_half_done_is_removed_and_never_used(
    gated: Gated, root: Path, tmp_path: Path, manifest: Manifest
):
    # The process blocks on a bundle that never ends, which makes the moment of its death certain.
    stuck = tmp_path / "stuck" / object_keys.bundle("shop", manifest.version)
    await asyncio.to_thread(stuck.parent.mkdir, parents=True)
    await gated.get_file(object_keys.bundle("shop", manifest.version), stuck)
    script = FETCH.replace("import asyncio", "import callboard.projects.versions as v, asyncio").replace(
        "asyncio.run",
        "async def never(work, bundle, folder, **_): folder.mkdir(); await asyncio.sleep(100)\n"
        "v.run_bounded = never\nasyncio.run",
    )
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", script, tmp_path / "stuck", root, manifest.version, cwd=REPOSITORY
    )
    try:
        await until(lambda: any(root.glob("shop/.partial-*/files")))
        living = [name for name in names(root / "shop") if name.startswith(".partial-")]
        # As long as its owner lives, nobody touches it; and nobody waits for it.
        folder = await VersionFolders(gated, root).ensure("shop", manifest.version)
        assert names(root / "shop") == [*living, manifest.version]
        process.send_signal(signal.SIGKILL)
        await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert names(root / "shop") == [*living, manifest.version]
    os.rename(folder, tmp_path / "away")  # noqa: PTH104
    await VersionFolders(gated, root).ensure("shop", manifest.version)
    assert names(root / "shop") == [manifest.version]


async def test_a_cancelled_fetch_leaves_nothing(gated: Gated, root: Path, manifest: Manifest):
    folders = VersionFolders(gated, root)
    gated.open.clear()
    before = gated.downloads
    caller = asyncio.create_task(folders.ensure("shop", manifest.version))
    await until(lambda: gated.downloads == before + 1)
    caller.cancel()
    await asyncio.wait([caller])
    assert caller.cancelled()
    assert names(root / "shop") == []
    gated.open.set()
    assert (await folders.ensure("shop", manifest.version)).name == manifest.version


async def test_a_fetch_cancelled_while_it_unpacks_leaves_nothing_half_done(
    gated: Gated, root: Path, manifest: Manifest
):
    folders = VersionFolders(gated, root)
    caller = asyncio.create_task(folders.ensure("shop", manifest.version))
    await until(lambda: any(root.glob("shop/.partial-*/files")))
    caller.cancel()
    await asyncio.wait([caller])
    assert names(root / "shop") in ([], [manifest.version])
    assert names(await folders.ensure("shop", manifest.version)) == ["Intuned.jsonc", "api", "utils"]


async def test_a_missing_bundle_says_what_to_do(gated: Gated, root: Path, manifest: Manifest):
    await gated.delete(object_keys.bundle("shop", manifest.version))
    with pytest.raises(StoreError) as error:
        await VersionFolders(gated, root).ensure("shop", manifest.version)
    assert error.value.message == (
        f"The bundle of version {manifest.version} of project 'shop' is not in the artifact store. "
        "Deploy the project again."
    )
    assert names(root / "shop") == []


async def test_a_damaged_bundle_says_what_to_do(gated: Gated, root: Path, manifest: Manifest):
    key = object_keys.bundle("shop", manifest.version)
    await gated.put(key, (await gated.get(key) or b"")[:-20])
    with pytest.raises(StoreError) as error:
        await VersionFolders(gated, root).ensure("shop", manifest.version)
    assert error.value.message.endswith(
        f"If its bundle is damaged, remove {key} from the artifact store and deploy the project again."
    )
    assert names(root / "shop") == []


async def test_a_root_that_cannot_be_written_says_so(gated: Gated, tmp_path: Path, manifest: Manifest):
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match=r"The folder .*/file/shop for versions cannot be written: "):
        await VersionFolders(gated, tmp_path / "file").ensure("shop", manifest.version)


@pytest.mark.parametrize(("project", "version"), [("../x", "0" * 16), ("shop", "../../x"), ("shop", "0" * 15)])
async def test_names_that_could_leave_the_root_are_refused(gated: Gated, root: Path, project: str, version: str):
    with pytest.raises(ValueError, match="There cannot be a version"):
        await VersionFolders(gated, root).ensure(project, version)
