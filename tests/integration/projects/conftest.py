"""A host that deploys projects and builds their environments, and packages that no index has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from callboard.projects.environments import Environments
from callboard.projects.versions import VersionFolders
from callboard.storage.folder import FolderStore
from tests.support.machines import open_lab
from tests.support.package_box import package_box
from tests.support.project_folders import deployed as deployed
from tests.support.project_folders import make_project as make_project
from tests.support.project_folders import store as store
from tests.support.project_host import Host
from tests.support.wheels import make_wheel


@pytest.fixture
def environments_root(tmp_path: Path) -> Path:
    """Where a host has its environments, and the caches of uv."""
    return tmp_path / "environments"


@pytest.fixture
async def host(
    tmp_path: Path, environments_root: Path, store: FolderStore, make_project: Callable[..., Path], packages: None
) -> AsyncIterator[Host]:
    (tmp_path / "lab").mkdir()
    async with open_lab(tmp_path / "lab") as lab:
        versions = VersionFolders(store, tmp_path / "versions")
        environments = Environments(environments_root, package_box())
        yield Host(lab, store, environments, environments_root, versions, make_project)


@pytest.fixture
def wheels(tmp_path: Path, packages: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of packages that the index does not have, which the operator has named to uv.

    `alpha` needs `beta<2`, `gamma` adds a module path of its own, and `greenlet` is older than Playwright needs it.
    """
    folder = tmp_path / "wheels"
    monkeypatch.setenv("UV_FIND_LINKS", str(folder))
    make_wheel(folder, "alpha", requires=("beta<2",))
    make_wheel(folder, "beta", "1.0")
    make_wheel(folder, "beta", "2.0")
    make_wheel(folder, "greenlet", "1.0")
    make_wheel(folder, "gamma", files={"gamma.pth": "below\n", "below/hidden.py": "", "temporalio.py": "MINE = True"})
    return folder
