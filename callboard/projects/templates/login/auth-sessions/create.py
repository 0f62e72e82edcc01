"""Sign in. What the browser holds when this is done is the login that every API begins with."""

from typing import Any, TypedDict

from callboard_runtime import NotRetryable
from playwright.async_api import Page


class Params(TypedDict):
    url: str
    user: str
    password: str


async def create(page: Page, params: Params, **_kwargs: Any) -> None:
    await page.goto(f"{params['url']}/login")
    await page.get_by_label("User").fill(params["user"])
    password = page.get_by_label("Password")
    await password.fill(params["password"])
    await password.evaluate("field => field.dataset.sent = 'yes'")
    await page.get_by_role("button", name="Sign in").click()
    # Write what your site shows to whoever is signed in.
    signed_in = page.get_by_role("heading", name="Your account")
    # A site that refuses says so, or shows its form again: the field of a new form is not marked.
    alert = page.get_by_role("alert").filter(visible=True)
    refused = alert.or_(page.locator("input[type=password]:not([data-sent])"))
    await signed_in.or_(refused).first.wait_for()
    if not await signed_in.is_visible():
        # A wrong password is sent once: to send it again may lock the account.
        said = await alert.first.inner_text() if await alert.count() else "it shows its form again"
        raise NotRetryable(f"The site refuses the login of {params['user']}: {said}")
