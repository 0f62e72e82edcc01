"""Environment variables over REST: what is set, what is shown, and what is refused."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from callboard.projects.pointer import withdraw_pointer
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import Api, MakeApi, deploy_project
from tests.support.constants import WORKSPACE

SECRET = "a-value-that-nobody-may-read"
PLACES = ["projects/closed/env-vars", "env-vars"]


async def call(api: Api, method: str, place: str, body: Any = None) -> httpx.Response:
    return await api.client.request(method, f"/api/v1/workspace/{WORKSPACE}/{place}", json=body)


@pytest.mark.parametrize("place", PLACES)
async def test_what_is_set_is_shown_but_the_value_of_a_secret(api: Api, place: str):
    plain = await call(api, "PUT", f"{place}/SHOP_URL", {"value": "https://shop.test"})
    assert plain.status_code == 200, plain.text
    assert plain.json() | {"updatedAt": "", "updatedBy": ""} == {
        "name": "SHOP_URL",
        "secret": False,
        "scopes": ["PUBLISHED"],
        "value": "https://shop.test",
        "updatedAt": "",
        "updatedBy": "",
    }
    body = {"value": SECRET, "secret": True, "scopes": ["PUBLISHED", "AUTHORING", "PUBLISHED"]}
    secret = await call(api, "PUT", f"{place}/SHOP_KEY", body)
    assert (secret.json()["value"], secret.json()["scopes"]) == (None, ["AUTHORING", "PUBLISHED"])
    listed = await call(api, "GET", place)
    assert listed.json() == {"envVars": [secret.json(), plain.json()]}, "sorted by name"
    assert (await call(api, "GET", f"{place}/SHOP_KEY")).json() == secret.json()
    assert SECRET not in secret.text + listed.text
    zone = await call(api, "PUT", f"{place}/TZ", {"value": "Asia/Tokyo"})
    assert zone.status_code == 200, zone.text
    for name in ("SHOP_KEY", "SHOP_URL", "TZ"):
        assert (await call(api, "DELETE", f"{place}/{name}")).status_code == 204
    for method in ("GET", "DELETE"):
        assert (await call(api, method, f"{place}/SHOP_KEY")).status_code == 404


@pytest.mark.parametrize(
    "name",
    [
        *("lower", "1ST", "A-B", "A B", "Ä", "X" * 129, "%2e%2e", "PATH", "HOME", "TMPDIR", "TRACEPARENT"),
        *("LD_PRELOAD", "PYTHONPATH", "NODE_OPTIONS", "PLAYWRIGHT_BROWSERS_PATH", "CALLBOARD_SECRET_KEY"),
    ],
)
async def test_names_that_change_more_than_user_code_are_refused_with_the_rule(api: Api, name: str):
    answer = await call(api, "PUT", f"env-vars/{name}", {"value": "x"})
    assert answer.status_code == 400, answer.text
    assert answer.json()["message"].startswith("name: ")
    assert answer.json()["details"]["expected"] in answer.json()["message"]
    assert (await call(api, "GET", f"env-vars/{name}")).status_code == 404


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({}, "value"),
        ({"value": 7}, "value"),
        ({"value": f"{SECRET}\0"}, "value"),
        ({"value": "€" * 10_923}, "value"),
        ({"value": SECRET, "secret": "yes"}, "secret"),
        ({"value": SECRET, "scopes": []}, "scopes"),
        ({"value": SECRET, "scopes": ["DEV"]}, "scopes"),
        ({"value": SECRET, "scope": ["AUTHORING"]}, "scope"),
    ],
)
async def test_a_wrong_body_is_refused_and_never_repeated(api: Api, body: Any, path: str):
    answer = await call(api, "PUT", "env-vars/A", body)
    assert answer.status_code == 400, answer.text
    assert answer.json()["details"]["path"].startswith(path)
    assert SECRET not in answer.text
    assert (await call(api, "GET", "env-vars/A")).status_code == 404


async def test_all_variables_of_a_project_have_a_size_together(api: Api):
    half = {"value": "x" * 32_000}
    for name in ("A", "B"):
        assert (await call(api, "PUT", f"{PLACES[0]}/{name}", half)).status_code == 200
    answer = await call(api, "PUT", f"{PLACES[0]}/C", {"value": "y" * 2_000})
    assert (answer.status_code, answer.json()["details"]["path"]) == (400, "value")
    assert (await call(api, "PUT", f"{PLACES[0]}/B", {"value": "small"})).status_code == 200
    assert (await call(api, "PUT", f"{PLACES[0]}/C", {"value": "y" * 2_000})).status_code == 200
    assert (await call(api, "PUT", "env-vars/C", half)).status_code == 200, "the workspace's count by themselves"
    for place in (*(f"{PLACES[0]}/{name}" for name in "ABC"), "env-vars/C"):
        await call(api, "DELETE", place)


async def test_a_run_reads_variables_if_it_is_started_after_the_first_one_was_set(make_api: MakeApi, tmp_path: Path):
    store = FolderStore(tmp_path / "artifacts")
    await deploy_project(tmp_path / "shop", store)
    api = await make_api(store=store)
    for reads in (False, True):
        assert api.input_of(await api.run()).reads_variables is reads
        assert (await call(api, "PUT", "projects/shop/env-vars/A", {"value": "1"})).status_code == 200


@pytest.mark.parametrize(("method", "place"), [("PUT", "env-vars/KEY"), ("POST", "jobs"), ("POST", "run/start")])
async def test_a_body_that_comes_late_adds_nothing_to_a_project_that_was_deleted(
    make_api: MakeApi, tmp_path: Path, method: str, place: str
):
    store = FolderStore(tmp_path / "artifacts")
    await deploy_project(tmp_path / "shop", store)
    api = await make_api(store=store)

    async def body() -> AsyncGenerator[bytes]:
        yield b"{"
        await withdraw_pointer(store, "shop")
        api.services.catalog.forget()
        yield b"}"

    url = f"/api/v1/workspace/{WORKSPACE}/projects/shop/{place}"
    answer = await api.client.request(method, url, content=body())
    assert (answer.status_code, answer.json()["message"]) == (404, "There is no project 'shop' deployed here.")
