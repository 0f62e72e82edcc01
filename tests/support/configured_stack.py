"""A stack for whose settings there is a reason to change them: one for all tests of what these settings do."""

from __future__ import annotations

import re
import shutil
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass

import pytest

from callboard.dev import ports
from callboard.machines.browser_program import find_browser
from callboard.settings import Settings
from examples.site import proxy
from tests.support.certificates import Certificate, make_certificate
from tests.support.otlp_collector import Collector, otlp_collector
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack

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
    """Settings are set in the environment, as by who runs `callboard dev`.

    It encrypts payloads, with a key that it makes itself. Its browser trusts a proxy, as docs/configure.md shows. The
    api and the trace viewer have names behind a reverse proxy. OpenTelemetry's own variables turn traces off.
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
            home = folder / "projects" / project
            (home / "api").mkdir(parents=True)
            (home / "api" / "look.py").write_text(LOOK)
            (home / "Intuned.yaml").write_text(settings.format(url=forward_proxy))
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
