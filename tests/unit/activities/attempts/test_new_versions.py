"""A version that is deployed is prepared for an idle Machine, before a Run of it comes."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from activities.attempts.new_versions import NewVersions
from activities.workers.deployed_projects import DeployedProjects
from callboard.machines.attempt_spec import Version
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.versions import VersionFolders
from callboard.schemas.errors import MachineError
from callboard.storage.folder import FolderStore
from tests.support.automations import automations
from tests.support.files import write_files
from tests.support.polling import until


async def test_an_idle_machine_hears_of_a_version_that_is_deployed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    store, changed = FolderStore(tmp_path / "artifacts"), list[Version]()
    pool = SimpleNamespace(warm=1, change_ahead=changed.append)
    resources: Any = SimpleNamespace(pools={"shop": pool}, versions=VersionFolders(store, tmp_path / "versions"))
    new_versions = NewVersions(resources)
    followed = DeployedProjects(Catalog(store, max_age=timedelta()), on_deploy=new_versions.deployed)

    async def deployed(name: str, result: int) -> str:
        files = {"Intuned.json": "{}", **automations(fine=f"return {result}")}
        manifest = await deploy(write_files(tmp_path / name, files), store)
        await followed.refresh()
        return manifest.version

    await deployed("shop", 1)
    await deployed("other", 1)
    await deployed("other", 2)
    second = await deployed("shop", 2)
    await until(lambda: changed)
    assert [(version.project, version.version) for version in changed] == [("shop", second)]
    assert "return 2" in (changed[0].folder / "api/fine.py").read_text()
    pool.warm = 0
    await deployed("shop", 3)

    async def fails(project: str, version: str) -> Path:
        raise MachineError(f"{project} is not fit.")

    pool.warm, resources.versions.ensure = 1, fails
    await deployed("shop", 4)
    await until(lambda: "could not be prepared: shop is not fit." in caplog.text)
    assert len(changed) == 1
    await new_versions.close()
