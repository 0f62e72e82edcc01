"""Pages that are updated by themselves, in a real browser, while somebody uses them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import timedelta

import pytest
from playwright.async_api import Page, Route, async_playwright, expect

from callboard.machines.browser_program import browser_args, find_browser
from callboard.schemas.workflow.handoff import Handoff, HandoffField, HandoffKind, HandoffStatus
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import Api, api_settings
from tests.support.dashboard_client import signed_in_client
from tests.support.in_memory_temporal import BEGAN, MemoryRuns


@pytest.fixture
async def api(deployed: FolderStore) -> AsyncGenerator[Api]:
    api = await Api.open(api_settings(), deployed, MemoryRuns())
    async with api.app.router.lifespan_context(api.app):
        yield api
    await api.client.aclose()


@pytest.fixture
async def page(api: Api) -> AsyncGenerator[Page]:
    """A page of somebody who has signed in, whose requests go to the application in this process."""
    pages = await signed_in_client(api)

    async def answer(route: Route) -> None:
        answered = await pages.get(route.request.url, headers={"accept": "text/html"})
        await route.fulfill(status=answered.status_code, headers=dict(answered.headers), body=answered.content)

    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())
        page = await browser.new_page(base_url="http://api.test")
        await page.route("**/*", answer)
        yield page
        await browser.close()
    await pages.aclose()


def handoff(run_id: str, number: int, name: str) -> Handoff:
    return Handoff(
        id=f"{run_id}.1.{number}",
        kind=HandoffKind.INPUT,
        attempt=1,
        instructions=f"The {name}",
        fields=(HandoffField(name=name),),
        status=HandoffStatus.OPEN,
        created_at=BEGAN,
        expires_at=BEGAN + timedelta(minutes=5),
    )


@pytest.mark.parametrize("path", ["handoffs", "runs/{run_id}"])
async def test_an_answer_that_is_being_typed_is_left_alone_until_it_is_given(api: Api, page: Page, path: str) -> None:
    run_id = await api.run()
    api.runs.handoffs = [handoff(run_id, 2, "pin")]
    await page.goto(f"/projects/shop/{path.format(run_id=run_id)}")
    await page.get_by_label("pin").press_sequentially("49")
    api.runs.handoffs = [handoff(run_id, 1, "code"), *api.runs.handoffs]
    for _ in range(2):
        async with page.expect_response("**/projects/**"):
            pass
    await page.keyboard.type("30")
    await expect(page.get_by_label("pin")).to_have_value("4930")
    await page.get_by_label("pin").fill("")
    await page.get_by_label("pin").blur()
    await expect(page.get_by_label("code")).to_be_visible()
