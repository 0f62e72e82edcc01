"""Sign in to the shop. What the browser holds when this is done is the AuthSession."""

from typing import Any, NotRequired, TypedDict

from callboard_runtime import request_input
from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict):
    user: str
    password: str
    baseUrl: NotRequired[str]


async def create(page: Page, params: Params | None = None, **_kwargs: Any) -> None:
    if params is None:
        raise ValueError("This needs parameters: user and password, and baseUrl if the shop is elsewhere.")
    shop = base_url(params)
    await go_to(page, f"{shop}/login")
    await page.get_by_label("User").fill(params["user"])
    await page.get_by_label("Password").fill(params["password"])
    await submit(page, "Sign in")
    code = page.get_by_label("Code")
    if await code.count():
        await code.fill(await code_sent_to(params["user"]))
        await submit(page, "Continue")


async def submit(page: Page, button: str) -> None:
    """Press `button` and wait for the page that answers. What it says in the way of an alert is an error."""
    async with page.expect_navigation():
        await page.get_by_role("button", name=button).click()
    refusal = page.get_by_role("alert")
    if await refusal.count():
        raise RuntimeError(f"the shop says: {await refusal.inner_text()}")


async def code_sent_to(user: str) -> str:
    """The one-time code, which only the member sees: a person tells it, or declines."""
    return await request_input(
        f"The code that the shop has sent to the phone of {user}",
        name="code",
        pattern=r"\d{6}",
        secret=True,
        timeout="5m",
    )
