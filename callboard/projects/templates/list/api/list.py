"""Read all items of a list that has several pages."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict):
    url: Annotated[str, "Address of the first page"]


async def automation(page: Page, params: Params, **_kwargs: Any) -> list[dict[str, str]]:
    await page.goto(params["url"])
    items: list[dict[str, str]] = []
    while True:
        for row in await page.get_by_role("listitem").all():
            link = row.get_by_role("link")
            items.append({"title": await link.inner_text(), "url": await link.get_attribute("href") or ""})
        following = page.get_by_role("link", name="Next")
        if not await following.count():
            return items
        await following.click()
