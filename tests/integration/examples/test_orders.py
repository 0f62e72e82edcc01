"""The example project with logins is a good project, and each of its files works in a real browser."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from playwright.async_api import Browser, Page

from callboard.projects.bundle import extract
from callboard.projects.deploy import deploy
from callboard.projects.environments import Environments
from callboard.storage import object_keys
from callboard.storage.folder import FolderStore
from examples.site.accounts import ACCOUNTS
from examples.site.orders import ORDERS
from tests.support.package_box import package_box
from tests.support.repository import REPOSITORY

PROJECT = REPOSITORY / "examples" / "projects" / "orders"

DOCS = (REPOSITORY / "docs" / "projects.md").read_text()
RE_BLOCK = re.DOTALL | re.MULTILINE

pytestmark = pytest.mark.usefixtures("project_modules")


def function(path: str, name: str) -> Callable[..., Any]:
    module = importlib.import_module(path.replace("/", "."))
    assert module.__file__ == str(PROJECT / f"{path}.py")
    return getattr(module, name)


def login(site: str, user: str) -> dict[str, str]:
    return {"baseUrl": site, "user": user, "password": ACCOUNTS[user].password}


async def create(page: Page, parameters: dict[str, str] | None, code: str = "") -> None:
    """There is no Attempt here that could ask, so a code is told in a person's place."""
    call = function("auth-sessions/create", "create")
    with patch.dict(call.__globals__, request_input=AsyncMock(return_value=code)):
        await (call(page) if parameters is None else call(page, parameters))


async def check(page: Page, parameters: dict[str, str]) -> bool:
    """There is no Attempt here, so whom the login is for is said in the runtime's place."""
    call = function("auth-sessions/check", "check")
    with patch.dict(call.__globals__, get_auth_session_parameters=AsyncMock(return_value=parameters)):
        return await call(page)


async def list_orders(page: Page, site: str) -> dict[str, Any]:
    return json.loads(json.dumps(await function("api/list-orders", "automation")(page, {"baseUrl": site})))


async def restored(page: Page, browser: Browser) -> Page:
    """A page of another browser context with the same login."""
    context = await browser.new_context(storage_state=await page.context.storage_state())
    return await context.new_page()


async def test_it_deploys_without_a_warning_and_without_the_sample_credentials(tmp_path: Path) -> None:
    store = FolderStore(tmp_path / "store")
    manifest = await deploy(PROJECT, store, Environments(tmp_path / "environments", package_box()))
    assert (manifest.project, manifest.apis, manifest.warnings) == ("orders", ("list-orders",), ())
    assert manifest.settings.auth_sessions.enabled
    assert manifest.settings.auth_sessions.type == "API"
    await store.get_file(object_keys.bundle("orders", manifest.version), tmp_path / "bundle")
    extract(tmp_path / "bundle", tmp_path / "files")
    texts = [path.read_text() for path in (tmp_path / "files").rglob("*") if path.is_file()]
    assert len(texts) >= 5
    assert not [text for text in texts for account in ACCOUNTS.values() if account.password in text]


def test_the_sample_parameters_are_those_of_the_local_site() -> None:
    samples = {
        path.relative_to(PROJECT / ".parameters").as_posix(): json.loads(path.read_text())
        for path in (PROJECT / ".parameters").rglob("*.json")
    }
    assert samples == {
        "api/list-orders/default.json": {"baseUrl": "http://127.0.0.1:8401"},
        "auth-sessions/create/default.json": login("http://127.0.0.1:8401", "alice"),
        "auth-sessions/create/tester.json": login("http://127.0.0.1:8401", "tester"),
        "auth-sessions/check/default.json": {},
    }


@pytest.mark.parametrize("user", ["alice", "rotating", "tester"])
async def test_the_login_is_good_and_lists_the_member_s_orders(
    site: str, page: Page, browser: Browser, user: str
) -> None:
    await create(page, login(site, user), code="493027")
    assert await check(await restored(page, browser), login(site, user))
    result = await list_orders(await restored(page, browser), site)
    assert result["member"] == ACCOUNTS[user].name
    assert [order["number"] for order in result["orders"]] == [order.number for order in ORDERS[user]]
    assert result["cart"].startswith("cart-")
    assert result["visit"].startswith("visit-")
    assert result["opened"] == 3  # by create, and two pages now


async def test_an_order_is_read_in_full(site: str, page: Page) -> None:
    await create(page, login(site, "bob"))
    assert (await list_orders(page, site))["orders"][1] == {
        "number": "2002",
        "day": "2026-01-19",
        "product": "Birch Clock",
        "pieces": 3,
        "total": 390.45,
    }


async def test_a_login_that_has_expired_fails_its_check_and_the_orders_say_so(
    site: str, page: Page, browser: Browser
) -> None:
    await create(page, login(site, "alice"))
    async with httpx.AsyncClient(trust_env=False) as client:
        await client.post(f"{site}/accounts/alice/expire")
    assert not await check(await restored(page, browser), login(site, "alice"))
    with pytest.raises(RuntimeError, match=r"^not signed in: the shop leads to .*/login$"):
        await list_orders(await restored(page, browser), site)


async def test_a_rotated_login_is_worth_nothing_to_who_has_the_earlier_one(
    site: str, page: Page, browser: Browser
) -> None:
    await create(page, login(site, "rotating"))
    earlier, later = await restored(page, browser), await restored(page, browser)
    await list_orders(later, site)
    assert not await check(earlier, login(site, "rotating"))
    assert await check(await restored(later, browser), login(site, "rotating"))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"user": "locked"}, r"^the shop says: This account is locked\.$"),
        ({"user": "alice", "password": "a guess"}, r"^the shop says: This is not a user of the shop"),
    ],
)
async def test_a_login_that_fails_tells_why(site: str, page: Page, parameters: dict[str, str], message: str) -> None:
    with pytest.raises(RuntimeError, match=message):
        await create(page, login(site, parameters["user"]) | parameters)


async def test_a_flaky_login_works_every_other_time(site: str, page: Page, browser: Browser) -> None:
    problems: list[str] = []
    for _ in range(2):
        other = await restored(page, browser)
        try:
            await create(other, login(site, "flaky"))
        except RuntimeError as error:
            problems.append(str(error))
        else:
            assert await check(other, login(site, "flaky"))
    assert problems == ["the shop says: Something broke while you signed in. Try again."]


async def test_a_login_without_parameters_says_what_is_needed(page: Page) -> None:
    with pytest.raises(ValueError, match="user and password"):
        await create(page, None)


async def test_the_login_in_the_docs_is_good_at_the_example_site(site: str, page: Page, browser: Browser) -> None:
    code: dict[str, Any] = {}
    for name in ("auth-sessions/create", "auth-sessions/check", "api/orders"):
        (text,) = re.findall(rf"^`my-projects/members/{name}\.py`\n\n```python\n(.*?)```", DOCS, RE_BLOCK)
        exec(text, code)
    code["get_auth_session_parameters"] = AsyncMock(return_value=login(site, "bob"))
    assert not await code["check"](page)
    await code["create"](page, login(site, "bob"))
    again = await restored(page, browser)
    assert await code["check"](again)
    assert len(await code["automation"](again, {"baseUrl": site})) > 1


def test_what_the_docs_say_of_asking_a_person_stands_in_the_project() -> None:
    told = re.findall(r"^```python\n(.*?)```", (REPOSITORY / "docs" / "people.md").read_text(), RE_BLOCK)
    files = [(PROJECT / name).read_text() for name in ("auth-sessions/create.py", "tests/test_orders.py")]
    assert [any(block in file for block in told) for file in files] == [True, True]


async def test_the_check_looks_at_the_shop_of_the_variable_if_there_is_one(
    site: str, page: Page, monkeypatch: pytest.MonkeyPatch
) -> None:
    await create(page, login(site, "alice"))
    monkeypatch.setenv("SHOP_URL", f"{site}/")
    assert await function("auth-sessions/check", "check")(page)
