"""Through the Run's proxy, which the start names: `"proxy": "http://ada:lovelace@127.0.0.1:8402"`."""

from __future__ import annotations

from typing import Any

from intuned_runtime import run_info
from playwright.async_api import Page


async def automation(page: Page, params: dict[str, Any] | None = None, **_kwargs: Any) -> dict[str, Any]:
    # A name that only the proxy knows: whoever goes without it gets nowhere.
    site = (params or {}).get("baseUrl", "http://behind-the-proxy.example:8401")
    await page.goto(f"{site}/visitor")
    # The code is told which proxy it is, but neither user nor password.
    return {"via": await page.get_by_role("status").inner_text(), "proxy": run_info().proxy}
