"""The example site's proxy asks who one is, leads to this machine only, and tells the site."""

from __future__ import annotations

import asyncio
import base64
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest

from examples.site import proxy
from tests.support.certificates import Certificate, make_certificate


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return make_certificate(tmp_path_factory.mktemp("certificate"))


@pytest.fixture(params=["http", "https"])
async def address(request: pytest.FixtureRequest, certificate: Certificate) -> AsyncIterator[str]:
    async with proxy.serving(0, certificate.server if request.param == "https" else None) as address:
        assert address.startswith(f"{request.param}://ada:lovelace@127.0.0.1:")
        yield address


def client(address: str, certificate: Certificate) -> httpx.AsyncClient:
    trusting = ssl.create_default_context(cafile=certificate.file)
    through = httpx.Proxy(address, ssl_context=trusting if address.startswith("https:") else None)
    return httpx.AsyncClient(proxy=through, verify=trusting, trust_env=False)


async def test_it_forwards_and_adds_its_name(address: str, certificate: Certificate, site: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as direct, client(address, certificate) as through:
        assert "<output>no proxy</output>" in (await direct.get(f"{site}/visitor")).text
        assert "<output>1.1 example-proxy</output>" in (await through.get(f"{site}/visitor?x=1")).text
        hidden = httpx.URL(f"{site}/visitor").copy_with(host=proxy.HIDDEN)
        assert "<output>1.1 example-proxy</output>" in (await through.get(hidden)).text
        assert (await through.post(f"{site}/visitor", content=b"word")).status_code == 405


async def test_it_makes_tunnels(address: str, certificate: Certificate) -> None:
    # What is reached through the tunnel here is a proxy over TLS, which refuses to be a site.
    async with proxy.serving(0, certificate.server) as other, client(address, certificate) as through:
        assert (await through.get(f"https://127.0.0.1:{httpx.URL(other).port}/")).status_code == 407


@pytest.mark.parametrize("who", ["", "ada:wrong@", "bob:lovelace@"])
async def test_without_the_right_credentials_nothing_is_forwarded(
    address: str, certificate: Certificate, site: str, who: str
) -> None:
    async with client(address.replace("ada:lovelace@", who), certificate) as through:
        answer = await through.get(f"{site}/visitor")
        assert (answer.status_code, answer.text) == (407, "")
        assert answer.headers["proxy-authenticate"].startswith("Basic ")


@pytest.mark.parametrize(
    ("url", "status"),
    [("http://192.0.2.1/", 403), ("http://example.invalid/", 403), ("http://127.0.0.1:1/", 502)],
)
async def test_what_cannot_be_reached_is_said(address: str, certificate: Certificate, url: str, status: int) -> None:
    async with client(address, certificate) as through:
        assert (await through.get(url)).status_code == status


async def test_open_tunnels_do_not_hold_up_its_end(certificate: Certificate) -> None:
    async with proxy.serving(0) as other, proxy.serving(0) as address:
        port, target = httpx.URL(address).port, httpx.URL(other).port
        assert port is not None
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        token = base64.b64encode(f"{proxy.USER}:{proxy.PASSWORD}".encode()).decode()
        writer.write(f"CONNECT 127.0.0.1:{target} HTTP/1.1\r\nProxy-Authorization: Basic {token}\r\n\r\n".encode())
        assert await reader.readline() == b"HTTP/1.1 200 Connected\r\n"
    assert (await reader.read()).strip() == b""
    writer.close()
