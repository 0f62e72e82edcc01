"""Files of an Attempt on their way to the store, and what is told of those that do not come there."""

from __future__ import annotations

import hashlib
from datetime import timedelta
from pathlib import Path

import pytest

from activities.attempts.attempt_files import StoredFiles, store_files
from callboard.machines.left_files import FileLimits
from callboard.security.masking import Masker
from callboard.storage import object_keys
from tests.support.attempt_worker import attempt_input
from tests.support.faulty_store import FaultyStore

LARGE = "it is larger than what is left of the limit for all files of an Attempt (CALLBOARD_FILES_LIMIT)"


@pytest.fixture
def store(tmp_path: Path) -> FaultyStore:
    return FaultyStore(tmp_path / "artifacts")


async def _stored(
    store: FaultyStore, folder: Path, files: dict[str, str], *, limit: int = 1000, within: float = 20
) -> StoredFiles:
    for name, text in files.items():
        file = folder / "files" / "output" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    limits = FileLimits(count=3, size=limit)
    input = attempt_input("run-1", 2)
    return await store_files(store, input, folder, Masker(["hunter2"]), limits, within=timedelta(seconds=within))


async def test_each_has_a_key_of_its_own_whatever_its_name_is(store: FaultyStore, tmp_path: Path) -> None:
    stored = await _stored(store, tmp_path, {".tmp-a": "one", "b/hunter2.csv": "hunter2"})
    assert [(file.name, file.size, file.content_type) for file in stored.files] == [
        (".tmp-a", 3, "application/octet-stream"),
        ("b/***.csv", 7, "text/csv"),
    ]
    assert stored.files[0].sha256 == hashlib.sha256(b"one").hexdigest()
    assert stored.missing is None
    contents = [await store.get(object_keys.file("shop", "run-1", 2, index)) for index in range(3)]
    assert contents == [b"one", b"hunter2", None], "what they contain is not masked"
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("file")] == ["files"]


async def test_what_is_beyond_the_limits_is_named_and_smaller_ones_after_it_are_kept(
    store: FaultyStore, tmp_path: Path
) -> None:
    stored = await _stored(store, tmp_path, {"a": "x" * 11, "b": "x" * 10, "c": "x", "d": "", "e": ""}, limit=10)
    assert [file.name for file in stored.files] == ["b", "d"]
    assert stored.missing == f"a, c: {LARGE}. e: of an Attempt, 3 files are kept (CALLBOARD_FILES_COUNT)."


async def test_a_store_that_refuses_costs_the_files_and_names_them(store: FaultyStore, tmp_path: Path) -> None:
    store.refuse = lambda _key: True
    stored = await _stored(store, tmp_path, {"a": "x", "b": "x"}, within=0.3)
    assert stored.files == ()
    assert (stored.missing or "").startswith("a: the artifact store did not take it (")
    assert "b: " in (stored.missing or "")


async def test_what_there_is_no_time_for_is_named(store: FaultyStore, tmp_path: Path) -> None:
    stored = await _stored(store, tmp_path, {"a": "x", "b": "x"}, within=0)
    assert stored == StoredFiles((), "a, b: it could not be stored in time.")


async def test_an_attempt_without_files_asks_nobody(store: FaultyStore, tmp_path: Path) -> None:
    store.refuse = lambda _key: True
    assert await _stored(store, tmp_path, {}) == StoredFiles()
