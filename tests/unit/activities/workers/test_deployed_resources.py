"""Each deploy of a project with files of Jobs or AuthSessions is applied once, whatever fails meanwhile."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from temporalio.client import Client

from activities.workers import deployed_projects
from activities.workers.deployed_projects import DeployedResources
from callboard.projects.catalog import Catalog
from callboard.projects.deploy import deploy
from callboard.projects.manifest import read_current
from callboard.schemas.errors import CallboardError, Unavailable
from tests.support.constants import WORKSPACE
from tests.support.faulty_store import FaultyStore
from tests.support.files import write_files
from tests.support.present import present

CLIENT = cast("Client", object())
JOB = json.dumps({"payload": [], "configuration": {}})


@dataclass
class Applications:
    """Notes which workflows are started."""

    started: list[tuple[str, datetime]] = field(default_factory=list[tuple[str, datetime]])
    failure: CallboardError | None = None

    async def start(self, client: Client, workspace: str, project: str, deployed_at: datetime) -> bool:
        assert (client, workspace) == (CLIENT, WORKSPACE)
        if self.failure is not None:
            raise self.failure
        self.started.append((project, deployed_at))
        return True


@dataclass
class House:
    """What one worker follows."""

    folder: Path
    store: FaultyStore
    applications: Applications
    resources: DeployedResources

    async def deploy(self, name: str, *jobs: str) -> datetime:
        """Deploy a project with these Jobs; return when."""
        files = {
            "Intuned.json": "{}",
            "api/list.py": "",
            **{f"intuned-resources/jobs/{job}.job.json": JOB for job in jobs},
        }
        for old in (self.folder / name).rglob("*.job.json"):
            old.unlink()
        await deploy(write_files(self.folder / name, files), self.store)
        return present(await read_current(self.store, name)).deployed_at


def follower(store: FaultyStore) -> DeployedResources:
    return DeployedResources(CLIENT, WORKSPACE, Catalog(store, max_age=timedelta(0)))


@pytest.fixture
def house(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> House:
    store, applications = FaultyStore(tmp_path / "artifacts"), Applications()
    monkeypatch.setattr(deployed_projects, "start_apply_resources", applications.start)
    return House(tmp_path, store, applications, follower(store))


async def test_each_deploy_of_a_project_with_files_is_applied_once(house: House) -> None:
    first = await house.deploy("shop", "nightly")
    await house.deploy("plain")
    for _ in range(3):
        await house.resources.refresh()
    assert house.applications.started == [("shop", first)]
    second = await house.deploy("shop", "nightly", "weekly")
    await house.deploy("plain")
    await house.resources.refresh()
    without = await house.deploy("shop")
    await house.resources.refresh()
    assert house.applications.started == [("shop", first), ("shop", second), ("shop", without)]


async def test_a_worker_that_starts_looks_at_what_was_deployed_before(house: House) -> None:
    deployed = await house.deploy("shop", "nightly")
    await follower(house.store).refresh()
    await follower(house.store).refresh()
    assert house.applications.started == [("shop", deployed)] * 2, "Temporal refuses the second one"


async def test_what_temporal_refuses_is_tried_again_and_told_once(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    deployed = await house.deploy("shop", "nightly")
    house.applications.failure = Unavailable("Temporal cannot be reached.")
    for _ in range(3):
        await house.resources.refresh()
    assert caplog.text.count("its files of Jobs and AuthSessions are not applied yet: Temporal cannot be reached.") == 1
    house.applications.failure = None
    await house.resources.refresh()
    assert house.applications.started == [("shop", deployed)]


async def test_a_project_that_cannot_be_read_holds_up_no_other(house: House) -> None:
    await house.deploy("broken", "nightly")
    deployed = await house.deploy("shop", "nightly")
    house.store.refuse = lambda key: key.startswith("projects/broken/")
    await house.resources.refresh()
    assert house.applications.started == [("shop", deployed)]
    house.store.refuse = lambda _key: True
    await house.resources.refresh()
    house.store.refuse = lambda _key: False
    await house.resources.refresh()
    assert [project for project, _ in house.applications.started] == ["shop", "broken"]
