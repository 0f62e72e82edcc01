"""An Attempt's proxy may be reached over TLS, if the browser trusts its certificate."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from callboard.machines.attempt_spec import AttemptReport, Proxy, Version
from callboard.machines.pool import Pool
from callboard.schemas.rest.proxy import split_proxy
from examples.site import proxy
from tests.support.automations import automations
from tests.support.certificates import Certificate, make_certificate
from tests.support.machines import attempt_of, failure, open_lab, value

PROJECT = automations(goes="await page.goto(params['url']); return await page.inner_text('body')")


@dataclass(frozen=True)
class World:
    """A proxy over TLS, and one Machine that trusts its certificate, one that does not."""

    certificate: Certificate
    proxy: Proxy
    version: Version
    trusting: Pool
    other: Pool

    async def go(self, pool: Pool, url: str) -> AttemptReport:
        return await pool.run_attempt(self.version, attempt_of("goes", {"url": url}, proxy=self.proxy))


@pytest.fixture(scope="module")
async def world(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    folder: Path = tmp_path_factory.mktemp("https")
    certificate = make_certificate(folder)
    async with open_lab(folder) as lab, proxy.serving(0, certificate.server) as url:
        parts = split_proxy(url)
        trust = f"--ignore-certificate-errors-spki-list={certificate.pin}"
        yield World(
            certificate,
            Proxy(parts.server, parts.username, parts.password),
            lab.version(PROJECT),
            lab.pool(project="trusting", launch=replace(lab.launch, arguments=(*lab.launch.arguments, trust))),
            lab.pool(project="other"),
        )


@pytest.fixture(scope="module")
async def secure_site(world: World) -> AsyncIterator[str]:
    """A site over TLS, which the proxy alone can lead to, by a tunnel."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Type: text/html\r\n\r\nsecure site")
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # a connection that the browser opened to be ready
        finally:
            writer.close()

    site = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=world.certificate.server, ssl_shutdown_timeout=1)
    async with site:
        yield f"https://{proxy.HIDDEN}:{site.sockets[0].getsockname()[1]}/"


async def test_pages_of_either_kind_come_through_it_with_credentials(world: World, site: str, secure_site: str) -> None:
    assert world.proxy.server.startswith("https://")
    assert "You came through: 1.1 example-proxy" in value(await world.go(world.trusting, f"{site}/visitor"))
    assert value(await world.go(world.trusting, secure_site)) == "secure site"


async def test_a_proxy_that_is_not_trusted_gets_no_request(world: World, site: str, secure_site: str) -> None:
    for url in (f"{site}/visitor", secure_site):
        report = failure(await world.go(world.other, url))
        assert "ERR_PROXY_CERTIFICATE_INVALID" in report.message
    assert value(await world.go(world.other, "data:text/html,still there")) == "still there"
