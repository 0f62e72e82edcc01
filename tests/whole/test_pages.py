"""The pages in a real browser, on the real stack."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Page, async_playwright, expect

from machines.browser import browser_args, find_browser
from tests.conftest import Stack
from tests.whole.logins import Logins

EVIL = "</script><img src=x onerror=\"document.title='owned'\">'"


@pytest.fixture(scope="module")
async def browser() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())
        yield browser
        await browser.close()


@pytest.fixture(scope="module")
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


def of(run_id: str, project: str = "lab") -> str:
    return f"/projects/{project}/runs/{run_id}"


async def test_a_wrong_key_is_refused_and_signing_out_ends_it(browser: Browser, stack: Stack) -> None:
    context = await browser.new_context(base_url=stack.url)
    page = await context.new_page()
    await page.goto("/projects")
    await page.get_by_label("API key").fill("not-the-key")
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("alert")).to_contain_text("not known")
    await page.get_by_label("API key").fill(stack.api_key)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("heading", name="Projects")).to_be_visible()
    assert await page.evaluate("document.cookie") == ""
    await page.get_by_role("button", name="Sign out").click()
    await page.goto("/projects")
    await expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    await context.close()


async def test_a_form_of_another_site_changes_nothing(page: Page, stack: Stack) -> None:
    run_id = await stack.start("wait", {"seconds": 600})
    try:
        form = (
            f"<form method=post action='{stack.url}{of(run_id)}/cancel'><input name=token><button>Win a prize</button>"
        )
        await page.goto(f"data:text/html,{form}")
        await page.get_by_role("button").click()
        await page.wait_for_url(f"{stack.url}/**")
        assert (await stack.result(run_id, wait=0))["status"] in {"pending", "started"}
        answer = await page.request.post(f"{stack.url}{of(run_id)}/cancel", form={"token": "guessed"})
        assert answer.status == 403
    finally:
        await stack.cancel(run_id)


async def test_the_playground_leads_to_a_finished_run(page: Page, stack: Stack) -> None:
    await page.goto("/projects/lab/playground?api=echo")
    editor = page.get_by_role("textbox", name="Parameters")
    await editor.fill("{oh")
    await expect(page.get_by_text("Not JSON")).to_be_visible()
    await editor.fill(json.dumps({"hello": EVIL}))
    await page.get_by_role("button", name="Start the Run").click()
    await page.wait_for_url(re.compile(r"/runs/[A-Za-z0-9_-]{21}$"))
    await expect(page.locator("h1 + .status")).to_have_text("completed", timeout=30_000)
    await expect(page.locator("#result")).to_contain_text("onerror")
    assert "owned" not in await page.title()
    await page.goto("/projects/lab/playground?api=echo")
    assert "onerror" in await page.get_by_role("textbox", name="Parameters").input_value()


async def test_the_playground_says_what_is_wrong_beside_the_field(page: Page) -> None:
    await page.goto("/projects/lab/playground?api=echo")
    await page.get_by_text("Sink", exact=True).click()
    await page.get_by_label("Deliver the result to").select_option("webhook")
    await page.get_by_label("URL").fill("http://10.0.0.1/hook")
    await page.get_by_role("button", name="Show the call").click()
    await expect(page.locator("#calls")).to_contain_text("run/start")
    page.once("console", lambda _: None)
    answer = await page.request.post(
        page.url,
        form={"token": await page.locator("[name=token]").first.input_value(), "api": "echo", "maximumAttempts": "0"},
    )
    assert answer.status == 400
    assert 'id="e-retry-maximumAttempts"' in await answer.text()


async def test_a_run_is_followed_to_its_end_without_reloading(page: Page, stack: Stack, tmp_path: Path) -> None:
    began, go = tmp_path / "began", tmp_path / "go"
    run_id = await stack.start("until-told", {"began": str(began), "go": str(go), "value": 42})
    await page.goto(of(run_id))
    await page.evaluate("window.same = true")
    await expect(page.locator("h1 + .status")).to_have_text("started", timeout=30_000)
    await expect(page.locator(".timeline")).to_contain_text("Attempt 1")
    go.touch()
    await expect(page.locator("h1 + .status")).to_have_text("completed", timeout=30_000)
    await expect(page.locator("#result")).to_contain_text("42")
    assert await page.evaluate("window.same")


async def test_a_failed_run_says_why_and_is_started_again(page: Page, stack: Stack) -> None:
    run_id = await stack.start("fail", retry={"maximumAttempts": 2})
    await stack.result(run_id)
    await page.goto(of(run_id))
    await expect(page.locator("#why")).to_contain_text("the price is missing")
    await expect(page.locator(".attempt")).to_have_count(2)
    await page.get_by_role("button", name="Run again").click()
    await page.wait_for_url(lambda url: "/runs/" in url and not url.endswith(run_id))
    await expect(page.locator("h1 + .status")).to_have_text("failed", timeout=30_000)
    await expect(page.get_by_role("link", name=run_id)).to_be_visible()


async def test_a_run_is_canceled_from_its_page(page: Page, stack: Stack) -> None:
    run_id = await stack.start("wait", {"seconds": 600})
    await page.goto(of(run_id))
    await page.get_by_role("button", name="Cancel").click()
    await expect(page.locator("h1 + .status")).to_have_text("canceled", timeout=30_000)
    await expect(page.locator("#why")).to_contain_text("cancelled-user-action")


async def test_runs_are_filtered_and_pending_ones_canceled_together(page: Page, stack: Stack, tmp_path: Path) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go")}
    busy = [await stack.start("until-told", parameters) for _ in range(2)]
    await asyncio.gather(*(stack.until_status(run_id, "started") for run_id in busy))
    waiting = [await stack.start("echo", {"n": n}) for n in range(2)]
    try:
        await page.goto("/projects/lab/runs")
        await page.get_by_label("Status").select_option("pending")
        await page.wait_for_url("**status=pending**")
        for run_id in waiting:
            await page.get_by_label(f"Choose Run {run_id}").check()
        page.on("dialog", lambda dialog: asyncio.ensure_future(dialog.accept()))
        await page.get_by_role("button", name="Cancel chosen").click()
        await expect(page.get_by_text("2 pending Runs were asked to end")).to_be_visible()
        for run_id in waiting:
            row = page.locator("tr", has_text=run_id)
            await expect(row.locator(".status")).to_have_text("canceled", timeout=30_000)
    finally:
        Path(parameters["go"]).touch()
        await asyncio.gather(*(stack.result(run_id) for run_id in busy))


async def test_an_auth_session_lives_and_dies_on_its_page(page: Page, stack: Stack) -> None:
    logins = Logins(stack)
    await page.goto("/projects/orders/auth-sessions")
    if not await page.get_by_label("Parameters, as JSON").first.is_visible():
        await page.get_by_text("Create an AuthSession").click()
    await page.get_by_label("Id", exact=True).fill("from-the-page")
    await page.get_by_label("Parameters, as JSON").first.fill(json.dumps(logins.parameters("alice")))
    await page.get_by_role("button", name="Create", exact=True).click()
    row = page.locator("#sessions tr", has_text="from-the-page")
    await expect(row.locator(".status")).to_have_text("READY", timeout=60_000)
    await row.get_by_role("button", name="Validate").click()
    await expect(page.locator("h1 + .status")).to_have_text("completed", timeout=60_000)
    await page.goto("/projects/orders/auth-sessions")
    await row.get_by_text("Delete", exact=False).first.click()
    await row.get_by_role("button", name="Delete from-the-page for good").click()
    await expect(page.get_by_text("from-the-page is gone")).to_be_visible()
    await expect(row).to_have_count(0)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_are_for_everybody_in_both_themes_on_phone_and_desktop(
    browser: Browser, stack: Stack, cookies: Any, theme: Any
) -> None:
    failed = await stack.start("fail", retry={"maximumAttempts": 1})
    await stack.result(failed)
    paths = ["/projects", "/projects/lab", "/projects/lab/runs", "/projects/lab/playground", of(failed)]
    paths += ["/projects/orders/auth-sessions", "/projects/x"]
    context = await browser.new_context(base_url=stack.url, color_scheme=theme)
    page = await context.new_page()
    await page.goto("/sign-in")
    problems = await faults(page)
    await context.add_cookies(cookies)
    for path in paths:
        await page.goto(path)
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 844})
            problems += await faults(page)
            wide = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} px wider than a screen of {width}"
    await context.close()
    assert problems == []


async def faults(page: Page) -> list[str]:
    """What axe finds that is serious, or worse."""
    # Pages let no code in but their own; the tool is put in beside that.
    found = await Axe().run(page)
    return [
        f"{page.url} {each['id']}: {[node['html'][:150] for node in each['nodes'][:3]]}"
        for each in found.response["violations"]
        if each["impact"] in {"serious", "critical"}
    ]
