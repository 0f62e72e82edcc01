"""The whole stack as `callboard dev` brings it up."""

from __future__ import annotations

import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from callboard.dev.dev import DevStack
from callboard.machines.keeper_process import processes_of
from callboard.projects.manifest import Manifest
from callboard.settings import Settings
from tests.support.files import write_files
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.rest import PATIENCE, Rest


class Stack(Rest):
    """A running stack, as a client of it. Runs are of its project `lab` unless they name another one."""

    def __init__(self, http: httpx.AsyncClient, dev: DevStack, site: str, projects: Path) -> None:
        super().__init__(http)
        self.dev = dev
        self.url = dev.url
        self.api_key = dev.api_key
        self.site = site
        self.data = Path(dev.settings.data_dir)
        self.projects = projects
        """Its project folders; what is written there is published."""

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, projects: Path, site: str, **changed: Any) -> AsyncGenerator[Self]:
        """A stack over a folder of projects, for as long as the block lasts; it leaves nothing behind.

        `changed` are settings that are not to be the default.
        """
        data = folder / "data"
        # Tests and user code tell each other things in the shared folder.
        settings = Settings(data_dir=data, port=0, shared_folders=[folder.parent], **changed)
        async with DevStack(projects, settings, temporal_port=0, ui_port=0, report=print) as dev:
            await dev.projects.wait_for_first_deploys(timedelta(minutes=5))
            async with Rest.of(dev.url, key=dev.api_key) as rest:
                yield cls(rest.http, dev, site, projects)
        assert processes_of(data) == []
        assert list((data / "workers").iterdir()) == []

    @asynccontextmanager
    async def published(self, name: str, files: Mapping[str, str]) -> AsyncGenerator[Manifest]:
        """A project folder with these files, once it is deployed, for as long as the block lasts."""
        made = write_files(self.projects.parent / f"{name}-to-publish", files)
        made.rename(self.projects / name)  # all at once: a part of it would be published, or refused
        try:
            yield await self.until_deployed(name)
        finally:
            shutil.rmtree(self.projects / name)

    async def until_deployed(self, project: str) -> Manifest:
        deployed = self.dev.projects
        found = await until(lambda: [each for each in deployed.deployed if each.project == project], PATIENCE)
        return found[0]


@pytest.fixture(scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory, site: str, packages: None) -> AsyncIterator[Stack]:
    """The embedded stack over the example projects and those of tests/system/projects. One for the whole session.

    The example `dependencies` is left to the test of it, as its environment costs more than all the others together.
    Machines wait for work for a short time: most tests have a project of their own, and to keep a Machine for the
    default two minutes takes as much of a processor as to start one.
    """
    folder = tmp_path_factory.mktemp("stack")
    projects = folder / "projects"
    shutil.copytree(REPOSITORY / "tests" / "system" / "projects", projects)
    ignore = shutil.ignore_patterns("dependencies")
    shutil.copytree(REPOSITORY / "examples" / "projects", projects, dirs_exist_ok=True, ignore=ignore)
    async with Stack.up(folder, projects, site, machine_idle=timedelta(seconds=30)) as running:
        yield running
