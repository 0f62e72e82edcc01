"""Every artifact store keeps the promises of `callboard.storage.store`: a folder, and a bucket on a real S3 server."""

from __future__ import annotations

import asyncio
import hashlib
import os
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from callboard.schemas.errors import StoreError
from callboard.storage import object_keys as places
from callboard.storage.factory import open_store
from callboard.storage.store import Store
from tests.support.s3_server import BUCKET, S3Server

parts = st.text(st.characters(codec="utf-8", exclude_characters="/\0"), min_size=1, max_size=20).filter(
    lambda part: part not in {".", ".."} and not part.startswith(".tmp-")
)
plain_keys = st.lists(st.lists(parts, min_size=1, max_size=3).map("/".join), max_size=6, unique=True)


async def keys(store: Store, prefix: str = "") -> list[str]:
    return [key async for key in store.list(prefix)]


async def test_what_is_put_is_got_back_and_can_be_replaced(store: Store) -> None:
    await store.put("runs/shop/1/a.json", b"old")
    await store.put("runs/shop/1/a.json", b"new")
    assert await store.get("runs/shop/1/a.json") == b"new"
    assert await store.exists("runs/shop/1/a.json")
    await store.delete("runs/shop/1/a.json")
    assert not await store.exists("runs/shop/1/a.json")


async def test_an_empty_object_is_an_object(store: Store, tmp_path: Path) -> None:
    await store.put("empty", b"")
    assert await store.get("empty") == b""
    assert await store.exists("empty")
    assert await store.get_file("empty", tmp_path / "out")
    assert (tmp_path / "out").read_bytes() == b""


async def test_big_files_are_copied_in_and_out(store: Store, tmp_path: Path) -> None:
    body = os.urandom(20 * 1024 * 1024)
    (tmp_path / "in").write_bytes(body)
    await store.put_file("bundle.tar.gz", tmp_path / "in")
    (tmp_path / "out").write_bytes(b"what was there before")
    assert await store.get_file("bundle.tar.gz", tmp_path / "out")
    assert hashlib.sha256((tmp_path / "out").read_bytes()).digest() == hashlib.sha256(body).digest()
    assert await store.get("bundle.tar.gz") == body
    assert await store.get_part("bundle.tar.gz", 5, 3) == body[5:8]
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == ["in", "out"]


async def test_a_missing_key_is_none_and_never_an_error(store: Store, tmp_path: Path) -> None:
    assert await store.get("a/b") is None
    assert await store.get_part("a/b", 0, 1) is None
    assert not await store.get_file("a/b", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert not await store.exists("a/b")
    await store.delete("a/b")
    assert await keys(store) == []


async def test_the_beginning_of_a_key_is_not_an_object(store: Store) -> None:
    await store.put("a/b/c", b"1")
    assert await store.get("a/b") is None
    assert not await store.exists("a/b")
    assert await store.get("a/b/c/d") is None


async def test_delete_removes_one_object(store: Store) -> None:
    await store.put("a/b/c", b"1")
    await store.put("a/d", b"2")
    await store.delete("a/b/c")
    assert await keys(store) == ["a/d"]


@pytest.mark.parametrize(
    "key", ["", "/", "/etc/passwd", "..", "a/../b", "a/..", "./a", "a//b", "a/", "a/\0", "a/.tmp-1", "../a"]
)
async def test_a_key_that_is_no_plain_path_is_refused(store: Store, tmp_path: Path, key: str) -> None:
    for work in (
        store.put(key, b""),
        store.get(key),
        store.exists(key),
        store.delete(key),
        store.put_file(key, tmp_path / "x"),
        store.get_file(key, tmp_path / "x"),
    ):
        with pytest.raises(ValueError, match="is not a key"):
            await work


@pytest.mark.parametrize("prefix", ["/", "../", "a/../b", "a//b", "\0"])
async def test_a_prefix_of_no_plain_path_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="artifact store"):
        await keys(store, prefix)


async def test_list_gives_the_keys_below_a_prefix_in_ascending_order(store: Store) -> None:
    names = ["a.json", "a/b", "a/c/d", "ab", "b", "runs/shop/1", "runs/shop/10", "runs/shop/2", "é"]
    for name in reversed(names):
        await store.put(name, b"")
    assert await keys(store) == names
    assert await keys(store, "runs/shop/1") == ["runs/shop/1", "runs/shop/10"]
    assert await keys(store, "a") == ["a.json", "a/b", "a/c/d", "ab"]
    assert await keys(store, "a/") == ["a/b", "a/c/d"]
    assert await keys(store, "nothing/") == []


async def test_list_goes_beyond_one_page(store: Store) -> None:
    names = [f"many/{number:04}" for number in range(1050)]
    await asyncio.gather(*(store.put(name, b"") for name in names))
    assert await keys(store, "many/") == names
    assert [entry.key async for entry in store.entries("many/", after=names[9])] == names[10:]


async def test_entries_tell_when_each_object_was_written_last(store: Store) -> None:
    began = datetime.now(UTC) - timedelta(seconds=1)  # which a store may cut off
    await store.put("runs/shop/1/a", b"1")
    await store.put("runs/shop/2/a", b"1")
    (first, second) = [entry async for entry in store.entries("runs/")]
    assert [first.key, second.key] == ["runs/shop/1/a", "runs/shop/2/a"]
    assert began <= first.modified <= datetime.now(UTC)
    async with asyncio.timeout(30):
        while True:  # until the next second of a store that knows only seconds
            await store.put("runs/shop/1/a", b"2")
            (again, same) = [entry async for entry in store.entries("runs/")]
            if again.modified > first.modified:
                break
            await asyncio.sleep(0.1)
    assert same == second
    await store.delete("runs/shop/1/a")
    assert [entry async for entry in store.entries("runs/")] == [second]


async def test_entries_have_a_tag_that_changes_when_another_object_is_written(store: Store) -> None:
    await store.put("runs/shop/1/a", b"1")
    await store.put("runs/shop/2/a", b"1")
    (first, second) = [entry.tag async for entry in store.entries("runs/")]
    assert first is not None
    await store.put("runs/shop/1/a", b"2")
    (other, same) = [entry.tag async for entry in store.entries("runs/")]
    assert other not in (first, None)
    assert same == second


async def test_entries_go_on_after_a_key_whether_it_is_still_there_or_not(store: Store) -> None:
    names = ["a.json", "a/b", "a/c/d", "ab", "b/1", "b/1-v1", "b/10", "b/2"]
    for name in names:
        await store.put(name, b"")

    async def after(key: str, prefix: str = "") -> list[str]:
        return [entry.key async for entry in store.entries(prefix, after=key)]

    for position, name in enumerate(names):
        assert await after(name) == names[position + 1 :]
    assert await after("a/c") == names[2:]
    assert await after("a/c/zzz") == names[3:]
    assert await after("a0") == names[3:], "0 comes right after the slash: all of a/ is left out"
    assert await after("zzz") == []
    assert await after("a/b", prefix="b/") == names[4:], "what comes before the prefix leaves nothing out"
    assert await after("b/1", prefix="b/1") == ["b/1-v1", "b/10"]


async def test_tidying_up_leaves_every_object(store: Store) -> None:
    await store.put("runs/shop/1/a", b"1")
    await store.tidy("runs/", datetime.now(UTC) + timedelta(days=1))
    await store.tidy("nothing/", datetime.now(UTC) + timedelta(days=1))
    assert await keys(store) == ["runs/shop/1/a"]


async def test_a_list_may_be_left_before_its_end(store: Store) -> None:
    for name in ("a", "b", "c"):
        await store.put(name, b"")
    async for key in store.list(""):
        assert key == "a"
        break
    assert await keys(store) == ["a", "b", "c"]


def check_round_trip(store: Store, names: list[str], data: bytes) -> None:
    # In a folder (and the S3 server keeps its objects in one), a key cannot be the beginning of another.
    names = [name for name in names if not any(other.startswith(f"{name}/") for other in names)]

    async def story() -> None:
        for name in names:
            await store.put(name, data)
        assert await keys(store) == sorted(names)
        for name in names:
            assert await store.get(name) == data
            await store.delete(name)
        assert await keys(store) == []

    asyncio.run(story())


@given(names=plain_keys, data=st.binary())
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plain_key_round_trips_in_a_folder_and_is_listed_in_order(
    tmp_path_factory: pytest.TempPathFactory, names: list[str], data: bytes
) -> None:
    check_round_trip(open_store(str(tmp_path_factory.mktemp("store"))), names, data)


@given(names=plain_keys, data=st.binary())
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_plain_key_round_trips_in_a_bucket_and_is_listed_in_order(
    with_keys: S3Server, names: list[str], data: bytes
) -> None:
    check_round_trip(open_store(f"s3://{BUCKET}/{uuid.uuid4().hex}", endpoint=with_keys.endpoint), names, data)


async def test_every_key_that_callboard_builds_can_be_kept(store: Store) -> None:
    built = [
        places.LAST_DEPLOY,
        places.current_version("shop"),
        places.manifest("shop", "v" * 64),
        places.bundle("shop", "v" * 64),
        places.parameters("shop", "r", "d" * 64),
        places.attempt("shop", "r", 1, "attempt.json"),
        places.persistent_value("shop", "any \ud800 / name"),
    ]
    for key in built:
        await store.put(key, key.encode())
    assert await keys(store) == sorted(built)


async def test_a_reader_sees_the_old_object_or_the_new_one_never_half_of_one(store: Store) -> None:
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


async def test_writers_and_removers_side_by_side_do_not_disturb_each_other(store: Store) -> None:
    async def churn(name: str) -> None:
        for turn in range(20):
            await store.put(f"a/b/{name}", b"%d" % turn)
            assert await store.get(f"a/b/{name}") == b"%d" % turn
            await store.delete(f"a/b/{name}")

    await asyncio.gather(*(churn(f"n{number}") for number in range(24)))
    assert await keys(store) == []


async def test_check_passes_on_a_good_store_and_leaves_nothing(store: Store) -> None:
    await store.check()
    assert await keys(store) == []


async def test_a_local_file_that_cannot_be_read_or_written_is_a_store_error(store: Store, tmp_path: Path) -> None:
    await store.put("a", b"1")
    with pytest.raises(StoreError, match=r"The artifact store .* could not write 'c': No such file or directory\."):
        await store.put_file("c", tmp_path / "missing")
    with pytest.raises(StoreError, match=r"The artifact store .* could not read 'a': No such file or directory\."):
        await store.get_file("a", tmp_path / "missing" / "out")
    assert await keys(store) == ["a"]
