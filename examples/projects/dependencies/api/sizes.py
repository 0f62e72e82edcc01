"""Uses a package of its own, and a variable: from `.env` in `callboard dev`, from `CALLBOARD_USER_UNIT` elsewhere."""

import os
from typing import Any

import humanize
from playwright.async_api import Page


async def automation(page: Page, params: dict[str, Any] | None = None, **_kwargs: Any) -> dict[str, str]:
    await page.set_content((params or {}).get("html", "<h1>Nothing</h1>"))
    size = len(await page.content())
    return {"size": humanize.naturalsize(size, binary=os.environ.get("UNIT") == "binary")}
