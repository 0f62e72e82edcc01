"""Fixtures of the tests of projects: a small project to deploy, a store to deploy it to, and what does both."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from callboard.projects.deploy import deploy
from callboard.projects.manifest import Manifest
from callboard.storage.folder import FolderStore
from tests.support.files import write_files

Make = Callable[..., Path]
"""Makes the folder of a project, with these files."""
Deployed = Callable[..., Awaitable[Manifest]]
"""Deploys a project with these files."""
AUTOMATION = "async def automation(page, params=None, **_kwargs):\n    return 1\n"


@pytest.fixture
def store(tmp_path: Path) -> FolderStore:
    return FolderStore(tmp_path / "artifacts")


@pytest.fixture
def make_project(tmp_path: Path) -> Make:
    def make(files: dict[str, str] | None = None, name: str = "shop") -> Path:
        return write_files(tmp_path / name, {"Intuned.jsonc": "{}", "api/list.py": AUTOMATION, **(files or {})})

    return make


@pytest.fixture
def deployed(make_project: Make, store: FolderStore) -> Deployed:
    async def deployed(
        files: dict[str, str] | None = None, name: str = "shop", *, max_machines: int | None = None
    ) -> Manifest:
        return await deploy(make_project(files, name), store, max_machines=max_machines)

    return deployed
