"""The work of the benchmark in plain Playwright: read 50 items from a page in a fresh context."""

from __future__ import annotations

import tempfile
from pathlib import Path

from playwright.async_api import Browser, Playwright

from callboard.machines.browser_program import browser_args, find_browser
from callboard.settings import Settings

SLOTS = 4
"""Number of reads at a time, in every row."""


async def launch(playwright: Playwright) -> Browser:
    """Launch the browser that all rows use."""
    return await playwright.chromium.launch(executable_path=find_browser(Settings().chromium), args=browser_args())


async def read(browser: Browser, url: str, trace: Path | None = None) -> list[str]:
    """Read the page in a fresh context, and save a trace to the path `trace` if it is given."""
    context = await browser.new_context()
    try:
        page = await context.new_page()
        if trace is not None:
            await context.tracing.start(screenshots=True, snapshots=True, sources=True)
        await page.goto(url)
        items: list[str] = await page.evaluate("[...document.querySelectorAll('li')].map(item => item.textContent)")
        if trace is not None:
            await context.tracing.stop(path=trace)
        return items
    finally:
        await context.close()


async def read_traced(browser: Browser, url: str) -> list[str]:
    """Read the page with a trace that is thrown away."""
    with tempfile.TemporaryDirectory(prefix="callboard-bench-") as folder:
        return await read(browser, url, Path(folder) / "trace.zip")
