"""What is particular to the folder store. The rest is in tests/integration/storage/test_store.py."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from callboard.schemas.errors import StoreError
from callboard.storage.folder import FolderStore
from callboard.storage.store import Store
from tests.support.repository import REPOSITORY

# As root, permissions are no obstacle: what these tests provoke does not happen.
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


def test_a_killed_writer_leaves_the_old_object_and_nothing_visible(store: FolderStore, tmp_path: Path) -> None:
    asyncio.run(store.put("x/y", b"old"))
    os.mkfifo(tmp_path / "endless")
    script = (
        "import asyncio, sys; from pathlib import Path; from callboard.storage.folder import FolderStore\n"
        "asyncio.run(FolderStore(Path(sys.argv[1])).put_file('x/y', Path(sys.argv[2])))\n"
    )
    folder = tmp_path / "artifacts" / "x"
    with subprocess.Popen(
        [sys.executable, "-c", script, folder.parent, tmp_path / "endless"], cwd=REPOSITORY
    ) as writer:
        try:
            with (tmp_path / "endless").open("wb") as endless:
                endless.write(b"new" * 1_000_000)
                endless.flush()
                deadline = time.monotonic() + 30
                while not [path for path in folder.iterdir() if path.name.startswith(".tmp-")]:
                    assert time.monotonic() < deadline
                    time.sleep(0.01)
                writer.send_signal(signal.SIGKILL)
                writer.wait(30)
        finally:
            writer.kill()
    assert asyncio.run(store.get("x/y")) == b"old"
    assert asyncio.run(keys(store)) == ["x/y"]


async def test_a_write_that_fails_leaves_no_temporary_file(store: FolderStore, tmp_path: Path) -> None:
    await store.put("a/b/c", b"1")
    with pytest.raises(StoreError, match=r"could not write 'a/b': Is a directory"):
        await store.put("a/b", b"2")
    assert [path.name for path in (tmp_path / "artifacts" / "a").iterdir()] == ["b"]


async def test_an_error_names_the_store_the_key_and_the_cause(store: FolderStore, tmp_path: Path) -> None:
    await store.put("a", b"1")
    with pytest.raises(StoreError, match=r"The artifact store .*/artifacts could not write 'a/b': .*\."):
        await store.put("a/b", b"2")
    with pytest.raises(StoreError, match="could not write 'c': No such file or directory"):
        await store.put_file("c", tmp_path / "missing")
    with pytest.raises(StoreError, match="could not read 'a': No such file or directory"):
        await store.get_file("a", tmp_path / "missing" / "out")
    with pytest.raises(StoreError, match=r"could not look for .*: File name too long"):
        await store.exists("n" * 300)


async def test_check_fails_where_no_folder_can_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreError, match="could not write"):
        await FolderStore(tmp_path / "file").check()


@not_as_root
async def test_check_fails_on_a_folder_without_permission(tmp_path: Path) -> None:
    await asyncio.to_thread(tmp_path.chmod, 0o500)
    with pytest.raises(StoreError, match="Permission denied"):
        await FolderStore(tmp_path).check()


async def test_a_root_that_the_store_makes_is_its_owners_alone(store: FolderStore, tmp_path: Path) -> None:
    await store.put("a", b"")
    assert (tmp_path / "artifacts").stat().st_mode & 0o777 == 0o700


async def test_tidying_up_removes_what_killed_writers_left_once_it_is_old_enough(
    store: FolderStore, tmp_path: Path
) -> None:
    await store.put("runs/shop/1/a", b"1")
    root = tmp_path / "artifacts"
    now = datetime.now(UTC)
    old, new, elsewhere = root / "runs/shop/2/.tmp-old", root / "runs/shop/1/.tmp-new", root / "values/.tmp-old"
    for left, age in ((old, timedelta(days=2)), (new, timedelta(hours=1)), (elsewhere, timedelta(days=2))):
        left.parent.mkdir(parents=True, exist_ok=True)
        left.touch()
        written = (now - age).timestamp()
        os.utime(left, (written, written))
    await store.tidy("runs/", now - timedelta(days=1))
    assert not old.parent.exists(), "nor is the folder left that nothing is in"
    assert new.exists()
    assert elsewhere.exists()
    assert await keys(store) == ["runs/shop/1/a"]
    await store.put("runs/shop/2/a", b"1")
    assert await keys(store, "runs/shop/2/") == ["runs/shop/2/a"]
