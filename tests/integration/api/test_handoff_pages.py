"""Pages of Handoffs in a real browser: what their script does while somebody uses them."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from datetime import UTC, datetime, timedelta

import pytest
from playwright.async_api import Browser, Page, expect

from callboard.schemas.workflow.handoff import Handoff, HandoffField, HandoffKind, HandoffStatus
from callboard.storage.folder import FolderStore
from tests.support.api_in_process import KEY, Api, api_settings
from tests.support.browser import browser as browser
from tests.support.in_memory_temporal import BEGAN, MemoryRuns

HOUR = timedelta(hours=1)


@pytest.fixture
async def api(deployed: FolderStore) -> AsyncGenerator[Api]:
    api = await Api.make(api_settings(), deployed, MemoryRuns())
    async with api.running():
        yield api


@pytest.fixture
async def page(api: Api, browser: Browser) -> AsyncGenerator[Page]:
    async with api.served() as url, await browser.new_page(base_url=url) as page:
        yield page


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
    await page.get_by_label("API key").fill(KEY)
    await page.get_by_role("button", name="Sign in").click()
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


async def test_a_link_asks_for_a_press_of_its_button_and_shows_its_question_while_that_is_open(
    api: Api, page: Page
) -> None:
    run_id = await api.run()
    for number in (1, 2):
        asked = handoff(run_id, number, "code").model_copy(update={"expires_at": datetime.now(UTC) + HOUR})
        api.runs.handoffs = [asked]
        made = await api.ask(f"runs/{run_id}/handoffs/{asked.id}/link", method="POST")
        await page.goto(made["url"].removeprefix("http://api.test"))
        assert page.url.endswith("/answer"), "what it holds stands there no longer"
        assert len(api.handoffs.opened) == number - 1
        await page.get_by_role("button", name="Show it").click()
        await expect(page.get_by_label("code")).to_be_visible()
        if number == 1:
            api.runs.handoffs = []
            await expect(page.get_by_role("heading", name="The question is over")).to_be_visible()
            await expect(page.get_by_role("button", name="Answer")).to_have_count(0)
    await page.get_by_label("code").fill("493027")
    await page.get_by_role("button", name="Answer").click()
    await expect(page.get_by_role("heading", name="The answer was given")).to_be_visible()
    assert len(api.handoffs.answered) == 1
