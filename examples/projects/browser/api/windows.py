"""A popup, a second page, a dialog, a permission: what pages ask for, answered by Playwright as ever."""

from __future__ import annotations

from typing import Any

from playwright.async_api import Page

OPENER = "data:text/html,<button onclick=\"window.open('about:blank').document.title = 'Popup'\">Open</button>"


async def automation(page: Page, params: Any = None, **_kwargs: Any) -> dict[str, Any]:
    await page.goto(OPENER)
    async with page.expect_popup() as waiting:
        await page.get_by_role("button").click()
    popup = await waiting.value

    second = await page.context.new_page()
    await second.goto("data:text/html,<title>Second</title>")

    page.once("dialog", lambda dialog: dialog.accept("yes"))
    answer = await page.evaluate("prompt('Sure?')")

    await page.context.grant_permissions(["geolocation"])
    await page.context.set_geolocation({"latitude": 52.5, "longitude": 13.4})
    return {
        "pages": len(page.context.pages),
        "popup": await popup.title(),
        "second": await second.title(),
        "answer": answer,
        "viewport": page.viewport_size,
    }
