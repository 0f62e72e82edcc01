"""Walk through the pages of the shop and list its products."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page
from utils.shop import base_url, go_to, number


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]
    pages: Annotated[int, "How many pages at most; by default all"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    params = params or {}
    most = params.get("pages")
    products: list[dict[str, Any]] = []
    visited = 0
    await go_to(page, f"{base_url(params)}/products")
    while True:
        visited += 1
        for item in await page.get_by_role("list", name="Products").get_by_role("listitem").all():
            link = item.get_by_role("link")
            products.append(
                {
                    "id": int(await item.get_attribute("data-id") or ""),
                    "name": await link.inner_text(),
                    "price": await number(item.locator(".price")),
                    "url": await link.evaluate("link => link.href"),
                }
            )
        print(f"page {visited}: {len(products)} products so far")
        following = page.get_by_role("link", name="Next page")
        if visited == most or not await following.count():
            return {"pages": visited, "products": products}
        await following.click()
        await page.get_by_text(f"Page {visited + 1} of").wait_for()
