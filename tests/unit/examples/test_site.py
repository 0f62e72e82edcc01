"""The example site has the pages that the example project needs."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator

import httpx
import pytest

from examples.site.app import create_app
from examples.site.products import PAGES, PRODUCTS, catalogue


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


async def test_five_pages_of_ten_products_each_lead_to_the_next(client: httpx.AsyncClient) -> None:
    seen: list[str] = []
    path = "/products"
    pages = 0
    while path:
        text = (await client.get(path)).text
        pages += 1
        found = re.findall(r'<li data-id="(\d+)">', text)
        assert len(found) == 10
        seen += found
        following = re.search(r'rel="next" href="([^"]+)"', text)
        path = following.group(1) if following else ""
    assert pages == PAGES == 5
    assert seen == [str(number) for number in range(1, 51)]


async def test_each_product_has_its_page(client: httpx.AsyncClient) -> None:
    for product in PRODUCTS:
        page = await client.get(f"/products/{product.id}")
        assert page.status_code == 200
        assert f"<h1>{product.name}</h1>" in page.text
        assert f'value="{product.price:.2f}"' in page.text
    assert len({product.name for product in PRODUCTS}) == 50


@pytest.mark.parametrize("path", ["/products?page=0", "/products?page=6", "/products/0", "/products/51", "/nothing"])
async def test_what_is_not_there_is_404(client: httpx.AsyncClient, path: str) -> None:
    assert (await client.get(path)).status_code == 404


async def test_a_flaky_page_fails_so_many_times_for_each_key_then_works(client: httpx.AsyncClient) -> None:
    async def status(key: str) -> int:
        return (await client.get("/flaky", params={"key": key, "failures": 2})).status_code

    assert [await status("a"), await status("a"), await status("b"), await status("a")] == [500, 500, 500, 200]
    assert [await status("a"), await status("b"), await status("b")] == [200, 500, 200]


async def test_a_slow_page_says_how_long_it_took(client: httpx.AsyncClient) -> None:
    assert "<output>0.01</output> seconds" in (await client.get("/slow?seconds=0.01")).text
    assert (await client.get("/slow?seconds=-1")).status_code == 422


async def test_the_catalogue_is_a_download_with_all_products(client: httpx.AsyncClient) -> None:
    answer = await client.get("/download/catalogue.csv")
    assert answer.headers["content-disposition"] == 'attachment; filename="catalogue.csv"'
    header, *rows = csv.reader(answer.text.splitlines())
    assert header == ["id", "name", "price", "stock"]
    assert len(rows) == 50
    assert answer.text == catalogue()


async def test_nothing_on_the_site_comes_from_elsewhere(client: httpx.AsyncClient) -> None:
    for path in ("/", "/products", "/products/1"):
        text = (await client.get(path)).text
        assert "http" not in text
        assert "<script" not in text


async def test_the_site_is_served_on_loopback(site: str) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{site}/healthz")).json() == {"status": "ok"}
