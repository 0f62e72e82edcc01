"""The folder store keeps the promises of `storage.store`."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.errors import StoreError
from storage.folder import FolderStore
from storage.store import Store

# As root, permissions are no obstacle: what these tests provoke does not happen.
not_as_root = pytest.mark.skipif(os.geteuid() == 0, reason="root may do everything")

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda part: part not in {".", ".."} and not part.startswith(".tmp-")
)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


async def test_what_is_put_is_got_back_and_can_be_replaced(store: FolderStore) -> None:
    await store.put("runs/shop/1/a.json", b"old")
    await store.put("runs/shop/1/a.json", b"new")
    assert await store.get("runs/shop/1/a.json") == b"new"
    assert await store.exists("runs/shop/1/a.json")


async def test_files_are_copied_in_and_out(store: FolderStore, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00" * 3_000_000)
    await store.put_file("bundle.tar.gz", tmp_path / "in")
    assert await store.get_file("bundle.tar.gz", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == (tmp_path / "in").read_bytes()


async def test_a_missing_key_is_none_and_never_an_error(store: FolderStore, tmp_path: Path) -> None:
    assert await store.get("a/b") is None
    assert not await store.get_file("a/b", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not await store.exists("a/b")
    await store.delete("a/b")
    assert await keys(store) == []


async def test_a_folder_of_keys_is_not_an_object(store: FolderStore) -> None:
    await store.put("a/b/c", b"1")
    assert await store.get("a/b") is None
    assert not await store.exists("a/b")
    await store.delete("a/b")
    assert await store.get("a/b/c") == b"1"
    assert await store.get("a/b/c/d") is None


async def test_delete_removes_the_object_and_the_folders_it_empties(store: FolderStore, tmp_path: Path) -> None:
    await store.put("a/b/c", b"1")
    await store.put("a/d", b"2")
    await store.delete("a/b/c")
    assert await keys(store) == ["a/d"]
    assert [path.name for path in (tmp_path / "artifacts" / "a").iterdir()] == ["d"]


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a//b", "a/", "a/\0", "a/.tmp-1", "../a"]
)
async def test_a_key_that_could_leave_the_root_is_refused(store: FolderStore, tmp_path: Path, key: str) -> None:
    with pytest.raises(ValueError, match="is not a key"):
        await store.put(key, b"")
    with pytest.raises(ValueError, match="is not a key"):
        await store.get(key)
    with pytest.raises(ValueError, match="is not a key"):
        await store.exists(key)
    with pytest.raises(ValueError, match="is not a key"):
        await store.delete(key)
    with pytest.raises(ValueError, match="is not a key"):
        await store.put_file(key, tmp_path / "x")
    with pytest.raises(ValueError, match="is not a key"):
        await store.get_file(key, tmp_path / "x")


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a//b", "\0"])
async def test_a_prefix_that_could_leave_the_root_is_refused(store: FolderStore, prefix: str) -> None:
    with pytest.raises(ValueError, match="artifact store"):
        await keys(store, prefix)


async def test_list_gives_the_keys_below_a_prefix_in_ascending_order(store: FolderStore) -> None:
    names = ["a.json", "a/b", "a/c/d", "ab", "b", "runs/shop/1", "runs/shop/10", "runs/shop/2", "é"]
    for name in reversed(names):
        await store.put(name, b"")
    assert await keys(store) == names
    assert await keys(store, "runs/shop/1") == ["runs/shop/1", "runs/shop/10"]
    assert await keys(store, "a") == ["a.json", "a/b", "a/c/d", "ab"]
    assert await keys(store, "a/") == ["a/b", "a/c/d"]
    assert await keys(store, "nothing/") == []


async def test_list_goes_beyond_one_batch(store: FolderStore, tmp_path: Path) -> None:
    folder = tmp_path / "artifacts" / "many"
    folder.mkdir(parents=True)
    for number in range(2500):
        (folder / f"{number:04}").touch()
    assert await keys(store, "many/") == [f"many/{number:04}" for number in range(2500)]


@given(names=st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=8, unique=True), data=st.binary())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plain_key_round_trips_and_is_listed_in_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bytes
) -> None:
    # In a folder, one key cannot be both an object and the beginning of another.
    names = [name for name in names if not any(other.startswith(f"{name}/") for other in names)]

    async def story() -> None:
        store = FolderStore(tmp_path_factory.mktemp("store"))
        for name in names:
            await store.put(name, data)
        assert await keys(store) == sorted(names)
        for name in names:
            assert await store.get(name) == data
            await store.delete(name)
        assert await keys(store) == []

    asyncio.run(story())


async def test_a_reader_sees_the_old_object_or_the_new_one_never_half_of_one(store: FolderStore) -> None:
    bodies = [bytes([letter]) * 200_000 for letter in b"abc"]
    await store.put("x/y", bodies[0])
    written = asyncio.Event()

    async def write() -> None:
        try:
            for turn in range(40):
                await store.put("x/y", bodies[turn % 3])
        finally:
            written.set()

    async def read() -> int:
        reads = 0
        while not written.is_set() or not reads:
            assert await store.get("x/y") in bodies
            assert await keys(store) == ["x/y"]
            reads += 1
        return reads

    _, *reads = await asyncio.gather(write(), read(), read())
    assert all(reads)


async def test_writers_and_removers_of_one_folder_do_not_disturb_each_other(store: FolderStore) -> None:
    async def churn(name: str) -> None:
        for _ in range(50):
            await store.put(f"a/b/{name}", b"1")
            await store.delete(f"a/b/{name}")

    await asyncio.gather(churn("one"), churn("two"), churn("three"))
    assert await keys(store) == []


def test_a_killed_writer_leaves_the_old_object_and_nothing_that_a_reader_sees(
    store: FolderStore, tmp_path: Path
) -> None:
    asyncio.run(store.put("x/y", b"old"))
    os.mkfifo(tmp_path / "endless")
    script = (
        "import asyncio, sys; from pathlib import Path; from storage.folder import FolderStore\n"
        "asyncio.run(FolderStore(Path(sys.argv[1])).put_file('x/y', Path(sys.argv[2])))\n"
    )
    folder = tmp_path / "artifacts" / "x"
    with subprocess.Popen(
        [sys.executable, "-c", script, folder.parent, tmp_path / "endless"], cwd=Path(__file__).parents[2]
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


async def test_check_passes_on_a_good_store_and_leaves_nothing(store: FolderStore) -> None:
    await store.check()
    assert await keys(store) == []


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
