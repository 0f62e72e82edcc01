"""The example site has the pages that the example project needs."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest

from examples.site.app import create_app


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    transport = httpx.ASGITransport(create_app())
    async with httpx.AsyncClient(transport=transport, base_url="http://site") as client:
        yield client


async def test_the_home_page_links_to_everything(client: httpx.AsyncClient) -> None:
    home = await client.get("/")
    assert home.status_code == 200
    for link in re.findall(r'href="([^"]+)"', home.text):
        path = link.replace("&amp;", "&").replace("seconds=3", "seconds=0")
        answer = await client.get(path, follow_redirects=True)
        assert answer.status_code in {200, 500 if "flaky" in link else 200}


async def test_nothing_on_the_site_comes_from_elsewhere(client: httpx.AsyncClient) -> None:
    for path in ("/", "/products", "/products/1"):
        text = (await client.get(path)).text
        assert "http" not in text
        assert "<script" not in text


async def test_the_site_is_served_on_loopback(site: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{site}/healthz")).json() == {"status": "ok"}
