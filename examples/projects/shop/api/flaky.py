"""Open a page that fails at first: each failure costs an Attempt, until one completes the Run."""

from typing import Annotated, Any, TypedDict
from urllib.parse import urlencode

from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict, total=False):
    baseUrl: Annotated[str, "The shop's address; by default that of the example site"]
    key: Annotated[str, "The page counts its failures for each key"]
    failures: Annotated[int, "How often the page fails; by default once"]


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    params = params or {}
    query = urlencode({"key": params.get("key", "example"), "failures": params.get("failures", 1)})
    await go_to(page, f"{base_url(params)}/flaky?{query}")
    return {"failures": int(await page.get_by_role("status").inner_text())}
