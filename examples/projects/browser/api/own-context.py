"""The hook brought this context: its language is French."""

from __future__ import annotations

from typing import Any

from intuned_runtime import attempt_store
from playwright.async_api import Page


async def automation(page: Page, params: Any = None, **_kwargs: Any) -> dict[str, Any]:
    return {"language": await page.evaluate("navigator.language"), "hook": attempt_store.get("hook")}
