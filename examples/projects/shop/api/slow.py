"""Open a page that takes its time: something to cancel, or to run into a time-out."""

from typing import Annotated, Any, TypedDict

from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]
    seconds: Annotated[float, "How long the page takes"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    params = params or {}
    page.set_default_navigation_timeout(0)  # The Attempt's own clock is the limit.
    await go_to(page, f"{base_url(params)}/slow?seconds={params.get('seconds', 3)}")
    return {"seconds": float(await page.get_by_role("status").inner_text())}
