from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from activities.attempts.project_environments import ProjectEnvironments
from callboard.projects.environments import Environments
from callboard.projects.manifest import OwnEnvironment
from callboard.schemas.errors import StoreError
from callboard.storage.folder import FolderStore
from tests.support.package_box import package_box

SOON = timedelta(milliseconds=10)


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


async def test_a_list_of_packages_that_is_gone_is_the_store_s_failure(store: FolderStore, tmp_path: Path):
    own = OwnEnvironment(source="requirements.txt", declaration="abc-playwright-1")
    environments = ProjectEnvironments(store, Environments(tmp_path, package_box()))
    with pytest.raises(StoreError, match=r"projects/shop/environments/abc-playwright-1\.txt is not there any more"):
        await environments.ensure_python("shop", own, tmp_path, within=SOON)
