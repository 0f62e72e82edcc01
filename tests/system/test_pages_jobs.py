"""The pages of Jobs in a real browser, on the real stack."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, FilePayload, Page, expect

from tests.support.accessibility import problems_of
from tests.support.stack import Stack

ITEMS = 4
SLOW = 60_000
"""Milliseconds within which a JobRun gets on."""
PATIENT = {"calendars": [{"hour": 3}], "timezone": "Europe/Berlin"}


@asynccontextmanager
async def job(stack: Stack, job_id: str, payload: list[dict[str, Any]], **fields: Any) -> AsyncGenerator[str]:
    """Create a Job, and yield the path of its page; remove it afterwards."""
    await stack.post("jobs", {"id": job_id, "payload": payload, "configuration": {}} | fields)
    yield f"/projects/lab/jobs/{job_id}"
    await stack.ask("DELETE", f"jobs/{job_id}")


def echoes(count: int) -> list[dict[str, Any]]:
    return [{"apiName": "echo", "parameters": {"n": number}} for number in range(count)]


def held(folder: Path, count: int) -> list[dict[str, Any]]:
    """Items whose Runs last until a file is there."""
    parameters = {"began": str(folder / "began"), "go": str(folder / "go")}
    return [{"apiName": "until-told", "parameters": parameters} for _ in range(count)]


async def trigger(page: Page, path: str) -> None:
    """Trigger the Job on its page, which leads to the page of the JobRun."""
    await page.goto(path)
    await page.get_by_role("button", name="Trigger").click()
    await page.wait_for_url(re.compile(r"/runs/jr_[\w-]+$"))


async def shows(page: Page, status: str) -> None:
    """Wait until the page of the JobRun shows this status."""
    await expect(page.locator("h1 + .status")).to_have_text(status, timeout=SLOW, ignore_case=True)


@asynccontextmanager
async def job_by_form(page: Page, stack: Stack) -> AsyncGenerator[str]:
    """Make and edit the Job `browsed` by its form, and yield the path of its page; remove it afterwards."""
    await page.goto("/projects/lab/new-job")
    await page.get_by_label("Id", exact=True).fill("browsed")
    await page.get_by_label("Given as").select_option("file")
    await page.get_by_label("API of the table").select_option("echo")
    table = "\n".join(["n", *map(str, range(ITEMS))])
    content: FilePayload = {"name": "items.csv", "mimeType": "text/csv", "buffer": table.encode()}
    await page.get_by_label("JobRuns begin").select_option("times")
    await page.get_by_label("Times of the day").fill("03:00")
    await page.get_by_label("Time zone").fill("Asia/Kolkata")
    await page.get_by_role("button", name="Show the next ten times").click()
    await expect(page.locator("#schedule ol li")).to_have_text([re.compile("03:00:00 IST$")] * 10)
    await page.get_by_label("File", exact=True).set_input_files(content)
    await page.get_by_role("button", name="Create Job").last.click()
    await expect(page.get_by_role("status").first).to_have_text("The Job was created.")
    await page.get_by_role("link", name="Edit", exact=True).click()
    await page.get_by_label("Time zone").fill("Europe/Berlin")
    await page.get_by_role("button", name="Save").last.click()
    await expect(page.locator("#schedule")).to_contain_text("at 03:00, every day (Europe/Berlin)")
    yield "/projects/lab/jobs/browsed"
    await stack.ask("DELETE", "jobs/browsed")


async def test_a_job_is_made_triggered_and_its_job_run_followed_to_its_results(page: Page, stack: Stack) -> None:
    async with job_by_form(page, stack) as path:
        await page.goto("/projects/lab/jobs")
        await expect(page.locator("tr", has_text="browsed")).to_contain_text("at 03:00")
        await page.get_by_role("link", name="browsed").click()
        await expect(page.locator("#next li")).to_have_count(10)
        zone: str = await page.evaluate("Intl.DateTimeFormat().resolvedOptions().timeZone")
        await expect(page.locator("#next header")).to_have_text(f"Next JobRuns{zone}")
        await trigger(page, path)
        await page.evaluate("window.same = true")
        await shows(page, "success")
        await expect(page.locator("#progress")).to_contain_text(f"{ITEMS} of {ITEMS} Runs ended")
        assert await page.evaluate("window.same")
        async with page.expect_download() as download:
            await page.get_by_role("link", name="Download results").click()
        lines = (await (await download.value).path()).read_text().splitlines()
        assert sorted(json.loads(line)["apiInfo"]["result"]["output"]["n"] for line in lines) == list(range(ITEMS))
        await page.get_by_role("link", name="All Runs").click()
        await expect(page.locator("tbody tr")).to_have_count(ITEMS)


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_pages_of_jobs_are_accessible_in_both_themes_on_phone_and_desktop(
    browser: Browser, stack: Stack, cookies: Any, tmp_path: Path, theme: Any
) -> None:
    context = await browser.new_context(base_url=stack.url, color_scheme=theme)
    await context.add_cookies(cookies)
    page = await context.new_page()
    async with job(stack, f"seen-in-{theme}", held(tmp_path, ITEMS), schedule=PATIENT) as path:
        await trigger(page, path)
        unfinished = page.url.removeprefix(stack.url)
        await expect(page.locator("#by-status")).to_contain_text("started", timeout=SLOW)
        scan_at = 390 if theme == "dark" else 1280
        problems: list[str] = []
        for each in ("/projects/lab/jobs", path, f"{path}/edit", unfinished):
            problems += await problems_of(page, each, scan_at=scan_at)
        (tmp_path / "go").touch()
        await shows(page, "success")
        problems += await problems_of(page, unfinished, scan_at=scan_at)
    await context.close()
    assert problems == []
