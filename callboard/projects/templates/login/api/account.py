"""Read what only a member sees. The browser is signed in when this begins."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page


class Params(TypedDict):
    url: Annotated[str, "The site's address, without a slash at its end"]


async def automation(page: Page, params: Params, **_kwargs: Any) -> dict[str, str]:
    await page.goto(f"{params['url']}/account")
    return {"name": await page.get_by_label("Name").inner_text()}
