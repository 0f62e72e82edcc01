"""The whole stack as `callboard dev` brings it up: the one that most tests share, and one with other settings."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Self

import httpx
import pytest

from callboard.dev import ports
from callboard.dev.dev import DevStack
from callboard.machines.browser_program import find_browser
from callboard.machines.keeper_process import processes_of
from callboard.projects.manifest import Manifest
from callboard.settings import Settings
from examples.site import proxy
from tests.support.certificates import Certificate, make_certificate
from tests.support.files import write_files
from tests.support.otlp_collector import Collector, otlp_collector
from tests.support.polling import until
from tests.support.repository import REPOSITORY
from tests.support.rest import PATIENCE, Rest

VIEWER = "viewer.localhost"
PAGE = (REPOSITORY / "docs" / "configure.md").read_text()
LOOK = """
from intuned_runtime import run_info

async def automation(page, params, **_):
    await page.goto(params["url"])
    requested = await page.request.get(params["url"])
    return [await page.get_by_role("status").inner_text(), run_info().proxy, requested.ok]
"""
PROXIES = {
    "named-by-the-start": "defaults: {{proxy: 'http://nowhere.invalid'}}",
    "named-by-proxy-dev": "proxy: {{dev: '{url}', deployed: 'http://nowhere.invalid'}}",
    "named-by-defaults": "defaults: {{proxy: '{url}'}}",
}
"""A project for each place where a proxy may be named, and its settings."""


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


@dataclass
class Configured:
    """The stack, and what its settings name."""

    stack: Stack
    forward_proxy: str
    """The address of a proxy over TLS, with credentials, that its browser trusts."""
    certificate: Certificate
    """Of that proxy."""
    https: int
    """The port of a reverse proxy in front of it, which a test may start. It believes one on this host."""
    viewer_port: int
    unused: Collector
    """Named as the endpoint of traces, which are off nevertheless."""


@pytest.fixture(scope="session")
async def configured(tmp_path_factory: pytest.TempPathFactory, site: str) -> AsyncIterator[Configured]:
    """A stack for whose settings there is a reason to change them: one for all tests of what these settings do.

    They are set in the environment, as by who runs `callboard dev`. It encrypts payloads, with a key that it makes
    itself. Its browser trusts a proxy, as docs/configure.md shows. The api and the trace viewer have names behind a
    reverse proxy. OpenTelemetry's own variables turn traces off.
    """
    folder = tmp_path_factory.mktemp("configured")
    certificate = make_certificate(folder)
    free = ports.choose_ports({"https": 0, "viewer": 0})
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", PAGE, flags=re.DOTALL)
    start, browser = folder / "chromium-and-our-proxy", find_browser(Settings().chromium)
    start.write_text(script.replace("chromium-headless-shell", str(browser)).replace("PIN", certificate.pin))
    start.chmod(0o755)
    shutil.copytree(REPOSITORY / "tests" / "system" / "projects" / "lab", folder / "projects" / "lab")
    shutil.copytree(REPOSITORY / "examples" / "projects" / "orders", folder / "projects" / "orders")
    async with AsyncExitStack() as resources:
        forward_proxy = await resources.enter_async_context(proxy.serving(0, certificate.server))
        unused = await resources.enter_async_context(otlp_collector())
        for project, settings in PROXIES.items():
            files = {"api/look.py": LOOK, "Intuned.yaml": settings.format(url=forward_proxy)}
            write_files(folder / "projects" / project, files)
        variables = {
            "CALLBOARD_ENCRYPT_PAYLOADS": "true",
            "CALLBOARD_CHROMIUM": str(start),
            "CALLBOARD_USER_NODE_EXTRA_CA_CERTS": str(certificate.file),
            "CALLBOARD_TRUSTED_PROXIES": "127.0.0.1",
            "CALLBOARD_VIEWER_URL": f"https://{VIEWER}:{free['https']}",
            "CALLBOARD_VIEWER_PORT": str(free["viewer"]),
            "OTEL_EXPORTER_OTLP_ENDPOINT": unused.url,
            "OTEL_SDK_DISABLED": "true",
        }
        with pytest.MonkeyPatch.context() as patch:
            for name, value in variables.items():
                patch.setenv(name, value)
            stack = await resources.enter_async_context(Stack.up(folder, folder / "projects", site))
        yield Configured(stack, forward_proxy, certificate, free["https"], free["viewer"], unused)
        assert unused.inbox.connections == 0
