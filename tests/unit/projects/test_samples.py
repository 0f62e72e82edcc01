from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.sample_files import read_auth_session_samples, read_bundle_samples
from callboard.projects.samples import Samples
from callboard.schemas.errors import StoreError
from callboard.storage.folder import FolderStore
from tests.support.files import write_files

FILES = {
    "Intuned.json": '{"projectName": "sampled"}',
    "api/list.py": "async def automation(page, params=None): ...\n",
    ".parameters/api/list/second.json": "{}",
    ".parameters/api/list/default.json": '{"n": 1}',
    ".parameters/api/deep/er/one.json": "not json",
    ".parameters/api/list/notes.txt": "no sample",
    ".parameters/api/stray.json": "{}",
    ".parameters/api/list/huge.json": " " * 70_000,
    ".parameters/auth-sessions/create/anna.json": '{"password": "never bundled"}',
}


async def test_those_of_a_version_are_found_by_api_default_first(tmp_path: Path):
    write_files(tmp_path / "sampled", FILES)
    store = FolderStore(tmp_path / "artifacts")
    manifest = await deploy(tmp_path / "sampled", store)
    samples = Samples()
    found = await samples.get(store, "sampled", manifest.version)
    assert [(each.api, each.name, each.text) for each in found] == [
        ("deep/er", "one", "not json"),
        ("list", "default", '{"n": 1}'),
        ("list", "second", "{}"),
    ]
    assert await samples.get(store, "sampled", manifest.version) is found
    assert await samples.get(store, "sampled", "0" * 16) == ()


def test_a_damaged_bundle_is_an_error_of_the_store(tmp_path: Path):
    (tmp_path / "bundle").write_bytes(b"no archive")
    with pytest.raises(StoreError):
        read_bundle_samples(tmp_path / "bundle")


def test_those_for_logins_are_read_from_the_folder_only(tmp_path: Path):
    assert read_auth_session_samples(tmp_path) == ()
    folder = tmp_path / ".parameters/auth-sessions/create"
    folder.mkdir(parents=True)
    for name in ("anna.json", "default.json", "notes.txt"):
        (folder / name).write_text("{}")
    assert [each.name for each in read_auth_session_samples(tmp_path)] == ["default", "anna"]
