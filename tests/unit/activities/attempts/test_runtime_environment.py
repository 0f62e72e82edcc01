from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from activities.attempts.runtime_environment import ProjectEnvironments
from projects.dotenv import DevFolders
from projects.environments import Environments
from projects.manifest import Manifest, OwnEnvironment
from projects.settings import ProjectSettings
from schemas.errors import StoreError
from storage.folder import FolderStore
from tests.support.package_box import package_box

SOON = timedelta(milliseconds=10)


def manifest(environment: OwnEnvironment | None = None) -> Manifest:
    return Manifest(
        project="shop",
        version="0" * 16,
        settings=ProjectSettings(),
        apis=("list",),
        environment=environment,
        created_at=datetime.now(UTC),
    )


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


async def test_a_version_without_an_environment_runs_on_ours_and_without_variables(store: FolderStore, tmp_path: Path):
    found = await ProjectEnvironments(store, Environments(tmp_path, package_box()), None).prepare(
        manifest(), tmp_path, within=SOON
    )
    assert (found.python, found.variables) == (None, ())


async def test_the_env_file_s_variables_are_the_same_for_the_same_file_whatever_its_order(
    store: FolderStore, tmp_path: Path
):
    folder = tmp_path / "projects" / "shop"
    folder.mkdir(parents=True)
    (folder / "Intuned.jsonc").write_text("{}")
    environments = ProjectEnvironments(store, Environments(tmp_path, package_box()), DevFolders(folder.parent))
    (folder / ".env").write_text("B=2\nA=1\n")
    first = await environments.prepare(manifest(), tmp_path, within=SOON)
    (folder / ".env").write_text("A=1\nB=2\n")
    assert await environments.prepare(manifest(), tmp_path, within=SOON) == first
    assert first.variables == (("A", "1"), ("B", "2"))
    assert "1" not in repr(first)


async def test_a_list_of_packages_that_is_gone_is_the_store_s_failure(store: FolderStore, tmp_path: Path):
    own = OwnEnvironment(source="requirements.txt", declaration="abc-playwright-1")
    environments = ProjectEnvironments(store, Environments(tmp_path, package_box()), None)
    with pytest.raises(StoreError, match=r"projects/shop/environments/abc-playwright-1\.txt is not there any more"):
        await environments.prepare(manifest(own), tmp_path, within=SOON)
