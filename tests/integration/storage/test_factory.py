"""A location becomes a store."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.schemas.errors import ConfigurationError
from callboard.storage.factory import open_store
from tests.support.s3_server import S3Server


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


@pytest.mark.parametrize("location", ["gs://bucket", "file:///tmp/x", "https://s3.example.com/bucket"])
def test_an_address_of_another_kind_is_refused_with_what_to_do(location: str) -> None:
    with pytest.raises(
        ConfigurationError, match="Set CALLBOARD_ARTIFACTS to the path of a folder, or to s3://bucket/prefix"
    ):
        open_store(location)


@pytest.mark.parametrize(
    ("location", "name"),
    [
        ("s3://bucket", "s3://bucket"),
        ("S3://bucket/", "s3://bucket"),
        ("s3://my.bucket-1/a/b/", "s3://my.bucket-1/a/b"),
    ],
)
def test_s3_addresses_are_buckets_and_prefixes(with_keys: S3Server, location: str, name: str) -> None:
    assert repr(open_store(location)) == f"S3Store({name!r})"


@pytest.mark.parametrize("location", ["s3://", "s3:///a", "s3://a b/c", "s3://a/../b", "s3://a/b//c", "s3://u:p@b/c"])
def test_an_s3_address_that_cannot_be_is_told(with_keys: S3Server, location: str) -> None:
    with pytest.raises(ConfigurationError, match=r"^CALLBOARD_ARTIFACTS: .* Set it to "):
        open_store(location)


@pytest.mark.parametrize("endpoint", ["s3.example.com", "https://", "ftp://s3.example.com", "http://a b"])
def test_an_endpoint_that_is_no_address_is_told(with_keys: S3Server, endpoint: str) -> None:
    with pytest.raises(ConfigurationError):
        open_store("s3://bucket", endpoint=endpoint)


def test_a_profile_that_is_not_there_is_told(with_keys: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_PROFILE", "nobodys")
    with pytest.raises(ConfigurationError, match="nobodys"):
        open_store("s3://bucket")
