"""Open a page that fails at first: each failure costs an Attempt, until one completes the Run."""

from typing import Any, TypedDict
from urllib.parse import urlencode

from playwright.async_api import Page
from utils.shop import base_url, go_to


class Params(TypedDict, total=False):
    baseUrl: str
    key: str  # the page counts its failures for each key
    failures: int


async def automation(page: Page, params: Params | None = None, **_kwargs: Any) -> dict[str, Any]:
    params = params or {}
    query = urlencode({"key": params.get("key", "example"), "failures": params.get("failures", 1)})
    await go_to(page, f"{base_url(params)}/flaky?{query}")
    return {"failures": int(await page.get_by_role("status").inner_text())}
