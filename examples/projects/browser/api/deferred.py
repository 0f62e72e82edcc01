"""An automation that needs a browser only sometimes: until it asks, none is set up for it."""

from __future__ import annotations

from typing import Any

from intuned_runtime import EnsureBrowserFunction, attempt_store, deferred_browser


@deferred_browser
async def automation(params: dict[str, Any] | None, ensure_browser: EnsureBrowserFunction) -> dict[str, Any]:
    if params and params.get("cached"):
        return {"browser": False, "hook": attempt_store.get("hook")}
    _context, page = await ensure_browser()
    await page.goto("data:text/html,<title>Fetched</title>")
    return {"browser": True, "title": await page.title(), "hook": attempt_store.get("hook")}
