"""What tests of several files start from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from tests.support.browser import browser as browser
from tests.support.installation import Installation, installed
from tests.support.stack import Stack


@pytest.fixture
async def installation(tmp_path: Path) -> AsyncIterator[Installation]:
    """Without an api, and without a worker yet."""
    async with installed(tmp_path) as installation:
        yield installation


@pytest.fixture(scope="session")
async def cookies(browser: Browser, stack: Stack) -> Any:
    """Of somebody who has signed in."""
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    await page.goto("/projects/lab/runs")
    await page.get_by_label("API key").fill(stack.api_key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/projects/lab/runs")
    found = await context.cookies()
    await context.close()
    return found


@pytest.fixture
async def page(browser: Browser, stack: Stack, cookies: Any) -> AsyncIterator[Page]:
    """A page of somebody who has signed in. What its console complains of fails the test."""
    context = await browser.new_context(base_url=stack.url)
    await context.add_cookies(cookies)
    page = await context.new_page()
    complaints: list[str] = []
    page.on("console", lambda message: complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))
    yield page
    await context.close()
    assert complaints == []
