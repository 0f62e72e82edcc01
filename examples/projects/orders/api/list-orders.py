"""List the orders of whoever is signed in."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    await go_to(page, f"{base_url(params or {})}/orders")
    table = page.get_by_role("table", name="Orders")
    if not await table.count():
        raise RuntimeError(f"not signed in: the shop leads to {page.url}")
    orders: list[dict[str, Any]] = []
    number = 1
    while True:
        for row in await table.locator("tbody tr").all():
            cells = row.get_by_role("cell")
            orders.append(
                {
                    "number": await cells.nth(0).inner_text(),
                    "day": await row.locator("time").get_attribute("datetime"),
                    "product": await cells.nth(2).inner_text(),
                    "pieces": int(await cells.nth(3).inner_text()),
                    "total": float(await row.locator(".price").get_attribute("value") or ""),
                }
            )
        following = page.get_by_role("link", name="Next page")
        if not await following.count():
            break
        number += 1
        await following.click()
        await page.get_by_text(f"Page {number} of").wait_for()
    return {
        "member": await page.locator(".member").inner_text(),
        "orders": orders,
        # What the shop keeps in this browser. It comes back with the login.
        "cart": await page.locator("#cart").inner_text(),
        "visit": await page.locator("#visit").inner_text(),
        "opened": int(await page.locator("#opened").inner_text()),
    }
