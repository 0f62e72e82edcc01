"""The whole stack as `callboard dev` brings it up, and how a test talks to it."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from devstack.dev import DevStack
from machines.scratch_cleanup import processes_of
from projects.manifest import Manifest
from settings import Settings
from tests.support.polling import until
from tests.support.repository import REPOSITORY

PATIENCE = 180
"""Seconds. Everything takes moments; a busy machine may be slow."""


@dataclass
class Stack:
    """A running stack and how to talk to it."""

    url: str
    api_key: str
    workspace: str
    site: str
    data: Path
    projects: Path
    """Its project folders; what is written there is published."""
    http: httpx.AsyncClient
    dev: DevStack

    @classmethod
    @asynccontextmanager
    async def up(cls, folder: Path, projects: Path, site: str, **changed: Any) -> AsyncGenerator[Self]:
        """A stack over a folder of projects, for as long as the block lasts; it leaves nothing behind.

        `changed` are settings that are not to be the default.
        """
        data = folder / "data"
        # Tests and user code tell each other things in the shared folder.
        settings = Settings(data_dir=data, port=0, shared_folders=[folder.parent], **changed)
        dev = DevStack(projects, settings, temporal_port=0, ui_port=0, report=print)
        async with (
            dev,
            httpx.AsyncClient(
                base_url=dev.url, headers={"x-api-key": dev.api_key}, timeout=90, trust_env=False
            ) as http,
        ):
            await dev.projects.wait_for_first_deploys(timedelta(minutes=5))
            yield cls(dev.url, dev.api_key, dev.settings.workspace, site, data, projects, http, dev)
        assert processes_of(data) == []
        assert list((data / "workers").iterdir()) == []

    @asynccontextmanager
    async def published(self, name: str, files: Mapping[str, str]) -> AsyncGenerator[Manifest]:
        """A project folder with these files, once it is deployed, for as long as the block lasts."""
        made = self.projects.parent / f"{name}-to-publish"
        for path, text in files.items():
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            (made / path).write_text(text)
        made.rename(self.projects / name)  # all at once: a part of it would be published, or refused
        try:
            yield await self.until_deployed(name)
        finally:
            shutil.rmtree(self.projects / name)

    async def until_deployed(self, project: str) -> Manifest:
        deployed = self.dev.projects
        found = await until(lambda: [each for each in deployed.deployed if each.project == project], PATIENCE)
        return found[0]

    def path(self, project: str, rest: str) -> str:
        return f"/api/v1/workspace/{self.workspace}/projects/{project}/run/{rest}"

    async def start(self, api: str, parameters: Any = None, *, project: str = "lab", **fields: Any) -> str:
        """Start a Run; its id."""
        answer = await self.http.post(
            self.path(project, "start"), json={"api": api, "parameters": parameters or {}, **fields}
        )
        assert answer.status_code == 201, answer.text
        return answer.json()["runId"]

    async def result(self, run_id: str, *, project: str = "lab", wait: float | None = None) -> dict[str, Any]:
        """The result when the Run has ended; or what is answered after `wait` seconds."""
        async with asyncio.timeout(PATIENCE):
            while True:
                params = {"wait": 60 if wait is None else wait}
                answer = await self.http.get(self.path(project, f"{run_id}/result"), params=params)
                assert answer.status_code == 200, answer.text
                if wait is not None or answer.json()["status"] not in {"pending", "started"}:
                    return answer.json()

    async def cancel(self, run_id: str, *, project: str = "lab", wait: float = 30) -> dict[str, Any]:
        answer = await self.http.post(self.path(project, f"{run_id}/cancel"), params={"wait": wait})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def run(self, api: str, parameters: Any = None, *, project: str = "lab", **fields: Any) -> dict[str, Any]:
        """Start a Run and wait for its end."""
        return await self.result(await self.start(api, parameters, project=project, **fields), project=project)

    async def until_status(self, run_id: str, status: str, *, project: str = "lab") -> None:
        await until(
            lambda: self.result(run_id, project=project, wait=0),
            PATIENCE,
            true=lambda answer: answer["status"] == status,
            every=0.05,
        )


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
