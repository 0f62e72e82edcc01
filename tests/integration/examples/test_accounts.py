"""The accounts of the example site: each is difficult in its own way, and says so in its counters."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.async_api import Browser, Page

from examples.site.accounts import ACCOUNTS
from examples.site.app import create_app
from examples.site.members import SESSION


@pytest.fixture
def visitors() -> Callable[[], httpx.AsyncClient]:
    """Browsers without scripts, each with cookies of its own, at the same shop."""
    transport = httpx.ASGITransport(create_app())
    return lambda: httpx.AsyncClient(transport=transport, base_url="http://site", follow_redirects=True)


@pytest.fixture
def client(visitors: Callable[[], httpx.AsyncClient]) -> httpx.AsyncClient:
    return visitors()


def csrf_in(page: httpx.Response) -> str:
    (token,) = re.findall(r'name="csrf" value="([^"]+)"', page.text)
    return token


async def sign_in(client: httpx.AsyncClient, user: str, password: str | None = None) -> httpx.Response:
    csrf = csrf_in(await client.get("/login"))
    fields = {"user": user, "password": password or ACCOUNTS[user].password, "csrf": csrf}
    return await client.post("/login", data=fields)


async def counters(client: httpx.AsyncClient, user: str) -> dict[str, Any]:
    return (await client.get(f"/accounts/{user}")).json()


@pytest.mark.parametrize("user", ["alice", "bob", "rotating"])
async def test_a_login_leads_to_the_orders(client: httpx.AsyncClient, user: str) -> None:
    answer = await sign_in(client, user)
    assert answer.url.path == "/orders"
    assert f">{ACCOUNTS[user].name}</strong>" in answer.text
    assert await counters(client, user) == {"user": user, "logins": 1, "failedLogins": 0, "liveSessions": 1}
    assert (await client.get("/login")).url.path == "/orders"


async def test_who_is_not_signed_in_is_sent_to_the_login(client: httpx.AsyncClient) -> None:
    answer = await client.get("/orders", follow_redirects=False)
    assert (answer.status_code, answer.headers["location"]) == (303, "/login")
    client.cookies.set(SESSION, "made-up")
    assert (await client.get("/orders")).url.path == "/login"


async def test_signing_out_ends_the_session(client: httpx.AsyncClient) -> None:
    await sign_in(client, "alice")
    cookie = client.cookies[SESSION]
    assert (await client.post("/logout")).url.path == "/login"
    assert SESSION not in client.cookies
    client.cookies.set(SESSION, cookie)
    assert (await client.get("/orders")).url.path == "/login"
    assert (await counters(client, "alice"))["liveSessions"] == 0


@pytest.mark.parametrize("user", ["alice", "nobody"])
async def test_a_wrong_password_shows_the_form_again(client: httpx.AsyncClient, user: str) -> None:
    answer = await sign_in(client, user, "a guess")
    assert (answer.status_code, answer.url.path) == (401, "/login")
    assert '<p role="alert">This is not a user of the shop, or not the password.</p>' in answer.text
    assert "a guess" not in answer.text
    fields = {"user": "alice", "password": ACCOUNTS["alice"].password, "csrf": csrf_in(answer)}
    assert (await client.post("/login", data=fields)).url.path == "/orders"
    failed = 1 if user == "alice" else 0
    assert await counters(client, "alice") == {"user": "alice", "logins": 1, "failedLogins": failed, "liveSessions": 1}


async def test_a_locked_account_is_never_let_in(client: httpx.AsyncClient) -> None:
    for failed in (1, 2):
        answer = await sign_in(client, "locked")
        assert answer.status_code == 403
        assert '<p role="alert">This account is locked.</p>' in answer.text
        expected = {"user": "locked", "logins": 0, "failedLogins": failed, "liveSessions": 0}
        assert await counters(client, "locked") == expected


async def test_every_other_login_of_a_flaky_account_meets_an_error_page(
    visitors: Callable[[], httpx.AsyncClient],
) -> None:
    answers = [await sign_in(visitors(), "flaky") for _ in range(4)]
    assert [answer.status_code for answer in answers] == [500, 200, 500, 200]
    assert '<p role="alert">' in answers[0].text
    assert await counters(visitors(), "flaky") == {
        "user": "flaky",
        "logins": 2,
        "failedLogins": 2,
        "liveSessions": 2,
    }


async def test_sessions_expire_on_command(visitors: Callable[[], httpx.AsyncClient]) -> None:
    first, second, other = visitors(), visitors(), visitors()
    for client, user in ((first, "alice"), (second, "alice"), (other, "bob")):
        await sign_in(client, user)
    assert (await counters(first, "alice"))["liveSessions"] == 2
    assert (await first.post("/accounts/alice/expire")).json() == {"expired": 2}
    assert [(await client.get("/orders")).url.path for client in (first, second, other)] == [
        "/login",
        "/login",
        "/orders",
    ]
    assert await counters(first, "alice") == {"user": "alice", "logins": 2, "failedLogins": 0, "liveSessions": 0}
    assert (await first.post("/accounts/alice/expire")).json() == {"expired": 0}


async def test_a_rotating_cookie_works_until_its_successor_is_used(client: httpx.AsyncClient) -> None:
    async def opens(cookie: str) -> str | None:
        """The cookie that the orders come with; None if there are none."""
        client.cookies.clear()
        client.cookies.set(SESSION, cookie)
        answer = await client.get("/orders", follow_redirects=False)
        return answer.cookies.get(SESSION) if answer.status_code == 200 else None

    await sign_in(client, "rotating")
    first = client.cookies[SESSION]  # that of the orders, after the login's own
    abandoned, second = await opens(first), await opens(first)
    assert abandoned is not None
    assert second is not None
    assert len({first, abandoned, second}) == 3
    assert await opens(abandoned) is None
    third = await opens(second)
    assert third is not None
    assert await opens(first) is None
    assert await opens(third) is not None
    assert (await counters(client, "rotating"))["liveSessions"] == 1


async def test_a_one_time_code_is_asked_for_and_works_once(visitors: Callable[[], httpx.AsyncClient]) -> None:
    client, thief = visitors(), visitors()
    page = await sign_in(client, "code")
    assert page.url.path == "/login/code"
    assert (await counters(client, "code"))["logins"] == 0
    assert (await client.get("/orders")).url.path == "/login"
    page = await client.get("/login/code")
    code = (await client.get("/accounts/code/code")).json()["code"]
    assert re.fullmatch(r"\d{6}", code)
    fields = {"csrf": csrf_in(page), "code": code}
    thief.cookies.update(client.cookies)
    assert (await client.post("/login/code", data=fields)).url.path == "/orders"
    assert await counters(client, "code") == {"user": "code", "logins": 1, "failedLogins": 0, "liveSessions": 1}
    assert (await client.get("/accounts/code/code")).status_code == 404
    again = await thief.post("/login/code", data=fields)
    assert again.status_code == 403
    assert "No login waits for a code here." in again.text


async def test_a_wrong_code_ends_the_login(client: httpx.AsyncClient) -> None:
    page = await sign_in(client, "code")
    code = (await client.get("/accounts/code/code")).json()["code"]
    wrong = f"{(int(code) + 1) % 10**6:06}"
    answer = await client.post("/login/code", data={"csrf": csrf_in(page), "code": wrong})
    assert answer.status_code == 401
    assert "This is not the code." in answer.text
    assert (await client.get("/login/code")).url.path == "/login"
    assert await counters(client, "code") == {"user": "code", "logins": 0, "failedLogins": 1, "liveSessions": 0}
    assert (await client.get("/accounts/code/code")).status_code == 404


async def test_the_shop_keeps_a_cart_a_visit_and_a_count_in_the_browser(
    site: str, page: Page, browser: Browser
) -> None:
    async def kept(where: Page) -> tuple[str, str, str]:
        cart, visit, opened = [await where.locator(f"#{name}").inner_text() for name in ("cart", "visit", "opened")]
        return cart, visit, opened

    await page.goto(f"{site}/login")
    await page.get_by_label("User").fill("bob")
    await page.get_by_label("Password").fill(ACCOUNTS["bob"].password)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/orders")
    cart, visit, opened = await kept(page)
    assert cart.startswith("cart-")
    assert visit.startswith("visit-")
    assert opened == "1"
    await page.reload()
    assert await kept(page) == (cart, visit, "2")
    tab = await page.context.new_page()  # another visit with the same cart
    await tab.goto(f"{site}/orders")
    other_cart, other_visit, opened = await kept(tab)
    assert (other_cart, opened) == (cart, "3")
    assert other_visit != visit
    state = await page.context.storage_state()
    (origin,) = state.get("origins", [])
    assert origin["origin"] == site
    assert {item["name"] for item in origin["localStorage"]} == {"cart", "opened"}
    restored = await browser.new_context(storage_state=state)
    tab = await restored.new_page()
    await tab.goto(f"{site}/orders")
    assert (await kept(tab))[::2] == (cart, "4")
    await restored.close()
