"""The example project is a good project, and each of its APIs works in a real browser."""

from __future__ import annotations

import importlib
import json
import uuid
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page

from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.storage.folder import FolderStore
from tests.support.package_box import package_box
from tests.support.repository import REPOSITORY

PROJECT = REPOSITORY / "examples" / "projects" / "shop"

APIS = ("download", "flaky", "list-products", "products/details", "slow")

pytestmark = pytest.mark.usefixtures("project_modules")


async def run(api: str, page: Page, params: dict[str, Any] | None) -> Any:
    module = importlib.import_module(f"api.{api.replace('/', '.')}")
    assert module.__file__ == str(PROJECT / "api" / f"{api}.py")
    result = await module.automation(page, params)
    return json.loads(json.dumps(result))


async def test_it_deploys_without_a_warning(tmp_path: Path) -> None:
    environments = Environments(tmp_path / "environments", package_box())
    manifest = await deploy(PROJECT, FolderStore(tmp_path / "store"), environments)
    assert manifest.project == "shop"
    assert manifest.apis == APIS
    assert manifest.warnings == ()
    assert manifest.settings.machines == 2
    assert manifest.settings.api_access.enabled


@pytest.mark.parametrize("api", APIS)
def test_each_api_has_sample_parameters_for_the_local_site(api: str) -> None:
    sample = json.loads((PROJECT / ".parameters" / "api" / api / "default.json").read_text())
    assert sample["baseUrl"] == "http://127.0.0.1:8401"


async def test_list_products_walks_through_all_pages(site: str, page: Page) -> None:
    result = await run("list-products", page, {"baseUrl": site})
    assert result["pages"] == 5
    assert [product["id"] for product in result["products"]] == list(range(1, 51))
    assert result["products"][10] == {"id": 11, "name": "Birch Lamp", "price": 100.75, "url": f"{site}/products/11"}


async def test_list_products_stops_after_the_pages_it_is_told(site: str, page: Page) -> None:
    result = await run("list-products", page, {"baseUrl": f"{site}/", "pages": 2})
    assert result["pages"] == 2
    assert len(result["products"]) == 20


async def test_details_reads_one_product(site: str, page: Page) -> None:
    assert await run("products/details", page, {"baseUrl": site, "id": 7}) == {
        "id": 7,
        "name": "Oak Rug",
        "price": 71.35,
        "stock": 3,
        "description": "Oak Rug, number 7 of our collection, made to be kept.",
        "url": f"{site}/products/7",
    }


async def test_a_product_that_is_not_there_is_an_error_that_says_so(site: str, page: Page) -> None:
    with pytest.raises(RuntimeError, match=r"/products/51 answered 404 Not Found"):
        await run("products/details", page, {"baseUrl": site, "id": 51})


async def test_slow_waits_for_its_page(site: str, page: Page) -> None:
    assert await run("slow", page, {"baseUrl": site, "seconds": 0.2}) == {"seconds": 0.2}


async def test_flaky_fails_so_many_times_and_then_works(site: str, page: Page) -> None:
    params = {"baseUrl": site, "key": uuid.uuid4().hex, "failures": 2}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="answered 500 Internal Server Error"):
            await run("flaky", page, params)
    assert await run("flaky", page, params) == {"failures": 2}


async def test_download_reads_the_catalogue(site: str, page: Page) -> None:
    assert await run("download", page, {"baseUrl": site}) == {
        "file": "catalogue.csv",
        "header": ["id", "name", "price", "stock"],
        "rows": 50,
    }


async def test_without_parameters_the_site_of_the_demo_is_meant(page: Page) -> None:
    await page.route("http://127.0.0.1:8401/**", lambda route: route.fulfill(status=503, body="closed"))
    for api in APIS:
        with pytest.raises(RuntimeError, match=r"^http://127\.0\.0\.1:8401.* answered 503 "):
            await run(api, page, None)
