"""The pages in a real browser, on the real stack."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from callboard.storage import object_keys
from tests.support.accessibility import problems_of, serious_findings
from tests.support.stack import Stack
from tests.support.webhook_receiver import answers, receiver

EVIL = "</script><img src=x onerror=\"document.title='owned'\">'"


def of(run_id: str, project: str = "lab") -> str:
    return f"/projects/{project}/runs/{run_id}"


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


async def test_runs_are_filtered_and_selected_ones_canceled_together(page: Page, stack: Stack, tmp_path: Path) -> None:
    parameters = {"began": str(tmp_path / "began"), "go": str(tmp_path / "go")}
    busy = [await stack.start("until-told", parameters) for _ in range(2)]
    await asyncio.gather(*(stack.until_status(run_id, "started") for run_id in busy))
    waiting = [await stack.start("echo", {"n": n}) for n in range(2)]
    try:
        await page.goto("/projects/lab/runs")
        await page.get_by_label("Status").select_option("pending")
        await page.wait_for_url("**status=pending**")
        for run_id in waiting:
            await page.get_by_label(f"Select Run {run_id}").check()
        await page.get_by_role("button", name="Cancel selected").click()
        await page.get_by_role("button", name="Cancel these Runs").click()
        await expect(page.get_by_role("heading", name="Cancel 2 Runs")).to_be_visible()
        await expect(page.locator("h1 + .status")).to_have_text("completed", timeout=30_000)
        await page.goto("/projects/lab/runs")
        for run_id in waiting:
            row = page.locator("tr", has_text=run_id)
            await expect(row.locator(".status")).to_have_text("canceled", timeout=30_000)
    finally:
        Path(parameters["go"]).touch()
        await asyncio.gather(*(stack.result(run_id) for run_id in busy))


@pytest.fixture(scope="module")
async def with_evidence(stack: Stack) -> str:
    """A failed Run of the shop, whose log is longer than that of any real one."""
    parameters = {"baseUrl": stack.site, "id": 4000}
    run_id = await stack.start("products/details", parameters, project="shop", retry={"maximumAttempts": 1})
    await stack.result(run_id, project="shop")
    folder = stack.data / "artifacts" / object_keys.attempt("shop", run_id, 1, "")
    line = {"timestamp": "2026-11-25T10:00:00.123Z", "level": "info", "source": "stdout"}
    loud = {**line, "level": "error", "message": "the needle\n  in the hay"}
    hay = "".join(
        f"{json.dumps({**line, 'message': f'product {n}, and what there is to say of it'})}\n" for n in range(85_000)
    )
    assert len(hay) > 10 * 1024 * 1024
    (folder / "log.jsonl").write_text(f"{hay}{json.dumps(loud)}\n{json.dumps({**line, 'message': 'the end'})}\n")
    return run_id


async def test_a_failed_run_leads_to_its_trace_in_playwright_s_viewer(
    page: Page, stack: Stack, with_evidence: str
) -> None:
    await page.goto(of(with_evidence, "shop"))
    async with page.context.expect_page() as opening:
        await page.get_by_role("link", name="Open trace").click()
    viewer = await opening.value
    await viewer.get_by_title("Navigate", exact=True).click()
    await viewer.get_by_role("tab", name="After").click()
    snapshot = viewer.frame_locator("iframe.snapshot-visible")
    await expect(snapshot.get_by_role("heading", name="Not found")).to_be_visible()
    assert await viewer.evaluate("origin") != stack.url
    assert await viewer.context.cookies(viewer.url) == []
    address = parse_qs(urlsplit(viewer.url).query)["trace"][0]
    assert with_evidence not in viewer.url, "an address does not say whose trace it is"
    assert (await viewer.request.get(urljoin(viewer.url, address))).ok
    await viewer.close()


async def test_a_long_log_is_searched_and_read_to_its_end(page: Page, with_evidence: str) -> None:
    await page.goto(of(with_evidence, "shop"))
    log = page.locator(".log")
    await expect(log).to_contain_text("85,002 lines")
    await expect(log.get_by_text("product 0,")).to_be_visible()
    assert await log.locator(".line").count() < 200, "what is out of sight is not drawn"
    await log.get_by_label("Search the log").fill("product 7777,")
    await expect(log).to_contain_text("1 of 85,002 lines")
    await expect(log.locator("mark")).to_have_text("product 7777,")
    await log.get_by_label("Search the log").fill("")
    await log.get_by_label("Lowest level shown").select_option("errors")
    await expect(log.get_by_text("the needle")).to_be_visible()
    await expect(log.get_by_text("in the hay")).to_be_visible()
    await log.get_by_label("Lowest level shown").select_option("all levels")
    await log.locator("[data-lines]").press("End")
    await expect(log.get_by_text("the end")).to_be_in_viewport()


async def test_a_log_is_followed_as_it_is_written(page: Page, stack: Stack, tmp_path: Path) -> None:
    go = tmp_path / "go"
    printed = [f"line {number}" for number in range(500)]
    run_id = await stack.start("prints", {"lines": printed, "go": str(go), "then": ["and one more"]})
    await stack.until_status(run_id, "started")
    await page.goto(of(run_id))
    lines = page.locator("[data-lines]")
    await expect(lines.get_by_text("line 499", exact=True)).to_be_visible(timeout=30_000)
    await lines.scroll_into_view_if_needed()
    await expect(lines.get_by_text("line 499", exact=True)).to_be_in_viewport()
    await lines.press("Home")
    await expect(page.get_by_label("Follow")).not_to_be_checked()
    await expect(lines.get_by_text("line 0", exact=True)).to_be_in_viewport()
    told = await page.locator("[data-note]").inner_text()
    go.touch()
    await expect(page.locator("[data-note]")).not_to_have_text(told, timeout=30_000)
    await expect(lines.get_by_text("line 0", exact=True)).to_be_in_viewport()
    await page.get_by_label("Follow").check()
    await expect(page.locator("h1 + .status")).to_have_text("completed", timeout=30_000)
    await expect(lines.get_by_text("and one more")).to_be_attached()
    is_at_its_end = "list => list.scrollTop + list.clientHeight >= list.scrollHeight - 1"
    await page.wait_for_function(is_at_its_end, arg=await lines.element_handle())


async def test_a_browser_is_watched_while_its_attempt_runs(page: Page, stack: Stack) -> None:
    run_id = await stack.start("slow", {"baseUrl": stack.site, "seconds": 600}, project="shop")
    try:
        await stack.until_status(run_id, "started", project="shop")
        await page.goto(of(run_id, "shop"))
        picture = page.get_by_role("img", name="Live view")
        await picture.scroll_into_view_if_needed(timeout=30_000)
        is_drawn = "canvas => canvas.getContext('2d').getImageData(0, 0, 1, 1).data[3] > 0"
        await page.wait_for_function(is_drawn, arg=await picture.element_handle(), timeout=30_000)
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="Cancel this Run").last.click()
        await expect(page.locator("h1 + .status")).to_have_text("canceled", timeout=30_000)
        await expect(picture).to_have_count(0)
    finally:
        await stack.cancel(run_id, project="shop")


SPIKED = """
async def automation(page, params, **_kwargs):
    print(params["evil"])
    await page.goto("data:text/html," + params["evil"])
    if params.get("fail"):
        raise ValueError(params["evil"])
    return [{params["evil"]: params["evil"], "link": "javascript:alert(1)"}]
"""


@pytest.fixture(scope="module")
async def spiked(stack: Stack) -> AsyncIterator[str]:
    """Name of an API that is code to whoever takes it for markup."""
    api = '"><img src=x onerror=alert(1)>'
    files = {"Intuned.json": '{"projectName": "spiked"}', f"api/{api}.py": SPIKED}
    async with stack.published("spiked", files):
        yield api


async def test_nothing_that_a_user_or_a_site_says_becomes_a_part_of_the_page(
    page: Page, stack: Stack, spiked: str
) -> None:
    async with receiver(answers("500 No", EVIL.encode())) as inbox:
        sink = {"type": "webhook", "url": f"{inbox.url}/?evil=%22%3E%3Cimg%20src=x%3E"}
        good = await stack.start(spiked, {"evil": EVIL}, project="spiked", sink=sink)
        bad = await stack.start(spiked, {"evil": EVIL, "fail": True}, project="spiked", retry={"maximumAttempts": 1})
        await asyncio.gather(*(stack.result(run_id, project="spiked") for run_id in (good, bad)))
        await inbox.until(1)
    query = urlencode({"api": spiked, "authSession": EVIL, "canceled": EVIL, "done": EVIL, "id": EVIL})
    places = ["/projects", "/projects/spiked", f"/projects/spiked/runs?{query}", "/projects/spiked/runs"]
    places += [f"/projects/spiked/playground?{query}", of(good, "spiked"), of(bad, "spiked")]
    places.append(f"{of(good, 'spiked')}?{urlencode({'search': EVIL, 'sort': 1, 'order': EVIL})}")
    places += [f"/projects/orders/auth-sessions?{query}", f"/sign-in?{urlencode({'next': EVIL})}"]
    dialogs: list[str] = []
    page.on("dialog", lambda dialog: dialogs.append(dialog.message))
    for place in places:
        await page.goto(place)
        await expect(page.get_by_role("heading", level=1)).to_be_visible()
        assert await page.locator("img[src=x]").count() == 0, place
        assert await page.title() != "owned", place
    await page.goto(of(bad, "spiked"))
    await expect(page.locator("#why pre").first).to_contain_text("onerror")
    await expect(page.locator(".lines")).to_contain_text(EVIL)
    await page.goto(of(good, "spiked"))
    await expect(page.locator("#result th").first).to_have_text(EVIL)
    await expect(page.locator("#result td").first).to_have_text(EVIL)
    assert await page.locator("a[href^=javascript]").count() == 0
    await expect(page.locator("#deliveries")).to_contain_text("onerror", timeout=30_000)
    assert await page.locator("img[src=x]").count() == 0
    await page.goto("/projects/orders/auth-sessions")
    answer = await page.request.post(
        f"{stack.url}/projects/orders/auth-sessions",
        form={"token": await page.locator("[name=token]").first.input_value(), "id": EVIL, "parameters": "{}"},
    )
    assert answer.status == 400
    assert EVIL not in await answer.text()
    assert dialogs == []


MAIN = [
    "/projects",
    "/projects/lab",
    "/projects/lab/runs",
    "/projects/lab/playground",
    "/projects/lab/versions",
    "/projects/lab/env-vars",
    "/env-vars",
    "/projects/orders/auth-sessions",
    "/keys",
    "/audit",
    "/key",
    "/fleet",
    "/projects/lab/deliveries",
    "/projects/lab/handoffs",
]


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_are_for_everybody_in_both_themes_on_phone_and_desktop(
    browser: Browser, stack: Stack, cookies: Any, with_evidence: str, theme: Any
) -> None:
    context = await browser.new_context(base_url=stack.url, color_scheme=theme)
    page = await context.new_page()
    await page.goto("/sign-in")
    problems = await serious_findings(page)
    await context.add_cookies(cookies)
    for path in [*MAIN, of(with_evidence, "shop"), of("none", "shop"), "/none"]:
        problems += await problems_of(page, path, scan_at=390 if theme == "dark" else 1280)
    await context.close()
    assert problems == []
