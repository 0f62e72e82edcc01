"""The Playground in a real browser, on the real stack."""

from __future__ import annotations

import json
import re
from typing import Any

from playwright.async_api import Browser, Page, expect

from tests.support.stack import Stack
from tests.support.webhook_receiver import answers, receiver

EVIL = "</script><img src=x onerror=\"document.title='owned'\">'"


async def test_the_playground_leads_to_a_finished_run(page: Page, stack: Stack) -> None:
    await page.goto("/projects/lab/playground?api=echo")
    editor = page.get_by_role("textbox", name="Parameters")
    await editor.fill("{oh")
    await expect(page.get_by_text("Not JSON")).to_be_visible()
    await editor.fill(json.dumps({"hello": EVIL}))
    await page.get_by_role("button", name="Start Run").click()
    await page.wait_for_url(re.compile(r"/playground\?run=[A-Za-z0-9_-]{21}$"))
    await expect(page.locator("h2 + .status")).to_have_text("completed", timeout=30_000)
    await expect(page.locator("#run")).to_contain_text("onerror")
    assert "owned" not in await page.title()
    await page.goto("/projects/lab/playground?api=echo")
    assert "onerror" in await page.get_by_role("textbox", name="Parameters").input_value()


async def test_the_parts_of_the_playground_are_tabs_that_keys_move_between(page: Page) -> None:
    await page.goto("/projects/orders/playground")
    tabs, panels = page.get_by_role("tab"), page.get_by_role("tabpanel")

    async def shown(name: str) -> None:
        await expect(page.get_by_role("tab", selected=True)).to_have_text(name)
        await expect(panels).to_have_count(1)
        await expect(panels).to_have_accessible_name(name)
        assert await tabs.evaluate_all("tabs => tabs.filter(tab => tab.tabIndex === 0).length") == 1

    await expect(tabs).to_have_text(["Execution", "Authentication", "Sink"])
    await shown("Authentication")
    await page.get_by_role("tab", name="Authentication").focus()
    for key, name in (
        ("ArrowRight", "Sink"),
        ("ArrowRight", "Execution"),
        ("ArrowLeft", "Sink"),
        ("Home", "Execution"),
        ("End", "Sink"),
    ):
        await page.keyboard.press(key)
        await shown(name)
        await expect(page.get_by_role("tab", name=name)).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(page.get_by_label("Sink type")).to_be_focused()
    # The same one is open after the page has come anew.
    await page.get_by_role("button", name="Show code").click()
    await expect(page.locator("#calls")).to_contain_text("run/start")
    await shown("Sink")


async def test_what_is_wrong_in_a_tab_that_is_not_open_opens_it(browser: Browser, stack: Stack, cookies: Any) -> None:
    context = await browser.new_context(base_url=stack.url)  # of its own: an answer of 400 is in its console
    await context.add_cookies(cookies)
    page = await context.new_page()
    await page.goto("/projects/orders/playground")
    attempts, opened = page.get_by_label("Maximum attempts"), page.get_by_role("tab", selected=True)
    await page.get_by_role("tab", name="Execution").click()
    # What the browser refuses,
    await attempts.fill("0")
    await page.get_by_role("tab", name="Sink").click()
    await page.get_by_role("button", name="Start Run").click()
    await expect(opened).to_have_text("Execution")
    await expect(attempts).to_be_focused()
    # and what the server does.
    await attempts.fill("101")
    await page.get_by_role("tab", name="Sink").click()
    await page.get_by_label("Sink type").select_option("webhook")
    await page.get_by_label("URL", exact=True).fill("https://receiver.example.com/")
    await page.get_by_role("button", name="Start Run").click()
    await expect(page.get_by_role("alert")).to_contain_text("The Run was not started")
    await expect(opened).to_have_text("Execution (has an error)")
    await expect(attempts).to_have_attribute("aria-invalid", "true")
    await expect(page.locator("#e-retry-maximumAttempts")).to_be_visible()
    await context.close()


async def test_a_field_that_is_not_asked_for_stands_in_nobodys_way(page: Page) -> None:
    await page.goto("/projects/lab/playground?api=echo")
    await page.get_by_role("tab", name="Sink").click()
    await page.get_by_label("Sink type").select_option("webhook")
    await page.get_by_label("URL", exact=True).fill("no address")
    await page.get_by_label("Sink type").select_option("")
    await page.get_by_role("button", name="Start Run").click()
    await page.wait_for_url(re.compile(r"/playground\?run=[A-Za-z0-9_-]{21}$"))


async def test_without_script_the_parts_stand_below_each_other(browser: Browser, stack: Stack, cookies: Any) -> None:
    context = await browser.new_context(base_url=stack.url, java_script_enabled=False)
    await context.add_cookies(cookies)
    page = await context.new_page()
    await page.goto("/projects/orders/playground")
    for name in ("Execution", "Authentication", "Sink"):
        await expect(page.get_by_role("heading", name=name)).to_be_visible()
    for label in ("Maximum attempts", "Create attempts", "Sink type"):
        await expect(page.get_by_label(label)).to_be_visible()
    await expect(page.get_by_role("tab")).to_have_count(0)
    await context.close()


async def test_a_test_of_a_sink_shows_what_it_answers(page: Page) -> None:
    async with receiver(answers("200 OK", EVIL.encode()), answers("500 No")) as inbox:
        await page.goto("/projects/lab/playground?api=echo")
        await page.get_by_role("tab", name="Sink").click()
        await page.get_by_label("Sink type").select_option("webhook")
        await page.get_by_label("URL", exact=True).fill(inbox.url)
        test = page.get_by_role("button", name="Send test")
        await test.click()
        await expect(page.locator("#sink-test")).to_contain_text("Delivered", timeout=30_000)
        await expect(page.locator("#sink-test pre")).to_have_text(EVIL)
        assert len(inbox.received) == 1
        await test.click()
        await expect(page.locator("#sink-test")).to_contain_text("answered 500", timeout=30_000)
    assert "owned" not in await page.title()
