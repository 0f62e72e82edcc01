"""A real browser for tests that look at pages: one for each process of pytest. Each test has a context of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Browser, async_playwright

from callboard.machines.browser_program import browser_args, find_browser
from callboard.settings import Settings


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    program = find_browser(Settings().chromium)
    async with (
        async_playwright() as playwright,
        await playwright.chromium.launch(executable_path=program, args=browser_args()) as browser,
    ):
        yield browser
