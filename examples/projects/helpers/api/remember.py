"""A value that outlives the Run, and attributes that stay in its record."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from intuned_runtime import persistent_store, run_info, set_attribute
from playwright.async_api import Page


async def automation(page: Page, params: dict[str, Any] | None = None, **_kwargs: Any) -> dict[str, Any]:
    name = (params or {}).get("name", "visits")
    before = await persistent_store.get(name) or {"visits": 0}
    now = {"visits": before["visits"] + 1, "lastRun": run_info().run_id}
    await persistent_store.set(name, now)
    set_attribute("visits", now["visits"])
    set_attribute("seenAt", datetime.now(UTC))
    return now
