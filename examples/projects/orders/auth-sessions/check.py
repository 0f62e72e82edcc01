"""Whether the login still works. The shop sends whoever is not signed in to its login page."""

import os
from typing import Any

from intuned_runtime import get_auth_session_parameters
from playwright.async_api import Page
from utils.shop import base_url, go_to


async def check(page: Page, **_kwargs: Any) -> bool:
    await go_to(page, f"{await shop_of_login()}/orders")
    return await page.get_by_role("table", name="Orders").count() == 1


async def shop_of_login() -> str:
    """A check is given no parameters; those that the login was made with say where the shop is.

    A login that a single Run has brought along keeps none. For such, set the variable SHOP_URL.
    """
    if url := os.environ.get("SHOP_URL"):
        return base_url({"baseUrl": url})
    return base_url(await get_auth_session_parameters())
