"""A location becomes a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from contract.errors import NotSupported
from storage.open import open_store


async def test_a_path_is_a_folder_store(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "artifacts"))
    await store.put("a", b"1")
    assert (tmp_path / "artifacts" / "a").read_bytes() == b"1"


async def test_a_relative_path_stays_where_it_was_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = open_store("here")
    monkeypatch.chdir("/")
    await store.put("a", b"1")
    assert (tmp_path / "here" / "a").exists()


async def test_the_home_folder_is_expanded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    await open_store("~/artifacts").put("a", b"1")
    assert (tmp_path / "artifacts" / "a").exists()


@pytest.mark.parametrize("location", ["s3://bucket/prefix", "S3://bucket", "gs://bucket", "file:///tmp/x"])
def test_an_address_is_refused_with_what_to_do(location: str) -> None:
    with pytest.raises(NotSupported, match="Set CALLBOARD_ARTIFACTS to the path of one"):
        open_store(location)
