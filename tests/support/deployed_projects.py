"""Fixtures of the api's tests: projects that are deployed to a store, for a whole session."""

from __future__ import annotations

from pathlib import Path

import pytest

from callboard.storage.folder import FolderStore
from tests.support.api_in_process import deploy_project


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("artifacts")


@pytest.fixture(scope="session")
async def deployed(tmp_path_factory: pytest.TempPathFactory, artifacts: Path) -> FolderStore:
    """Projects `shop`, `closed`, `members` (logs in), `closed-members` and `recorded` (people log in).

    API access of the closed ones is off.
    """
    root = tmp_path_factory.mktemp("projects")
    store = FolderStore(artifacts)
    await deploy_project(root / "shop", store)
    await deploy_project(root / "closed", store, apiAccess={"enabled": False})
    await deploy_project(root / "members", store, authSessions={"enabled": True, "type": "API"})
    await deploy_project(root / "recorded", store, authSessions={"enabled": True, "type": "MANUAL"})
    shut = {"apiAccess": {"enabled": False}, "authSessions": {"enabled": True, "type": "API"}}
    await deploy_project(root / "closed-members", store, **shut)
    return store
