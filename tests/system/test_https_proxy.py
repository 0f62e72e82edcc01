"""Runs through a proxy over TLS with credentials, on a browser that trusts it as docs/operations.md shows."""

from __future__ import annotations

import re
import subprocess
from collections.abc import AsyncIterator
from typing import Any

import pytest

from examples.site import proxy
from machines.browser import find_browser
from settings import Settings
from tests.support.repository import REPOSITORY
from tests.support.stack import Stack
from tests.support.tls import Certificate, make_certificate

PAGE = (REPOSITORY / "docs" / "operations.md").read_text()
API = """
from intuned_runtime import run_info

async def automation(page, params, **_):
    await page.goto(params["url"])
    requested = await page.request.get(params["url"])
    return [await page.get_by_role("status").inner_text(), run_info().proxy, requested.ok]
"""
SETTINGS = {
    "named-by-the-start": "defaults: {{proxy: 'http://nowhere.invalid'}}",
    "named-by-proxy-dev": "proxy: {{dev: '{url}', deployed: 'http://nowhere.invalid'}}",
    "named-by-defaults": "defaults: {{proxy: '{url}'}}",
}


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(scope="module")
async def address(certificate: Certificate) -> AsyncIterator[str]:
    async with proxy.serving(0, certificate.server) as address:
        yield address


@pytest.fixture(scope="module")
async def trusting(
    tmp_path_factory: pytest.TempPathFactory, certificate: Certificate, address: str, site: str
) -> AsyncIterator[Stack]:
    """A stack whose browser trusts the proxy, and a project for each place where a proxy may be named."""
    folder = tmp_path_factory.mktemp("trusting")
    for project, settings in SETTINGS.items():
        home = folder / "projects" / project
        (home / "api").mkdir(parents=True)
        (home / "api" / "look.py").write_text(API)
        (home / "Intuned.yaml").write_text(settings.format(url=address))
    (script,) = re.findall(r"```sh\n(#!/bin/sh\n.*?)```", PAGE, flags=re.DOTALL)
    start = folder / "chromium-and-our-proxy"
    browser = find_browser(Settings().chromium)
    start.write_text(script.replace("chromium-headless-shell", str(browser)).replace("PIN", certificate.pin))
    start.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CALLBOARD_CHROMIUM", str(start))
        patch.setenv("CALLBOARD_USER_NODE_EXTRA_CA_CERTS", str(certificate.file))
        async with Stack.up(folder, folder / "projects", site) as stack:
            yield stack


@pytest.mark.parametrize("project", SETTINGS)
async def test_a_run_goes_through_it_wherever_it_is_named(trusting: Stack, address: str, project: str) -> None:
    url = trusting.site.replace("127.0.0.1", proxy.HIDDEN) + "/visitor"
    fields: dict[str, Any] = {"proxy": address} if project == "named-by-the-start" else {}
    answer = await trusting.run("look", {"url": url}, project=project, **fields)
    assert answer.get("result") == ["1.1 example-proxy", address.replace("ada:lovelace@", ""), True], answer


def test_the_pin_is_what_the_command_prints(certificate: Certificate) -> None:
    (command,) = re.findall(r"```sh\n(openssl .*?)```", PAGE, flags=re.DOTALL)
    done = subprocess.run(
        ["bash", "-c", command], cwd=certificate.file.parent, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == certificate.pin
