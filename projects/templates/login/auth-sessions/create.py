"""Sign in. What the browser holds when this is done is the login that every API begins with."""

from typing import Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict):
    url: str
    user: str
    password: str


async def create(page: Page, params: Params, **_kwargs: Any) -> None:
    await page.goto(f"{params['url']}/login")
    await page.get_by_label("User").fill(params["user"])
    await page.get_by_label("Password").fill(params["password"])
    await page.get_by_role("button", name="Sign in").click()
    await page.get_by_role("heading", name="Your account").wait_for()
