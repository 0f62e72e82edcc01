"""Read one product: the API `products/details`."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page
from utils.shop import base_url, go_to, number


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]
    id: Annotated[int, "The product's number; by default 1"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    params = params or {}
    product = params.get("id", 1)
    await go_to(page, f"{base_url(params)}/products/{product}")
    return {
        "id": product,
        "name": await page.get_by_role("heading", level=1).inner_text(),
        "price": await number(page.locator(".price")),
        "stock": int(await number(page.locator(".stock"))),
        "description": await page.locator(".description").inner_text(),
        "url": page.url,
    }
