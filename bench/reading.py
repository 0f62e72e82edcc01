"""The work itself, by plain Playwright: a fresh context, a page, 50 items."""

from __future__ import annotations

from playwright.async_api import Browser, Playwright

from machines.browser import browser_args, find_browser

SLOTS = 4
"""How many at a time, in every row."""


async def launch(playwright: Playwright) -> Browser:
    """The browser that all rows use."""
    return await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())


async def read(browser: Browser, url: str) -> list[str]:
    """Read the page in a fresh context."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        await page.goto(url)
        return await page.evaluate("[...document.querySelectorAll('li')].map(item => item.textContent)")
    finally:
        await context.close()
