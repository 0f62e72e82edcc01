"""Tell whether the login is still good. This is called before every Attempt, so it opens one page only."""

from typing import Any

from intuned_runtime import get_auth_session_parameters
from playwright.async_api import Page


async def check(page: Page, **_kwargs: Any) -> bool:
    login = await get_auth_session_parameters()
    await page.goto(f"{login['url']}/account")
    return not page.url.endswith("/login")
