"""Runs before each automation of this project. Returning nothing keeps the context and page that Callboard made."""

from __future__ import annotations

from typing import Any

from intuned_runtime import attempt_store
from playwright.async_api import async_playwright


async def setup_context(*, api_name: str, api_parameters: Any, cdp_url: str) -> Any:
    attempt_store.set("hook", api_name)
    if api_name != "api/own-context":
        return None
    # Another client of the same browser: its context is used in place of Callboard's, and closed after the Attempt.
    playwright = await async_playwright().start()
    browser = await playwright.chromium.connect_over_cdp(cdp_url)
    context = await browser.new_context(locale="fr-FR")

    async def cleanup() -> None:
        await context.close()
        await browser.close()
        await playwright.stop()

    return context, None, cleanup
