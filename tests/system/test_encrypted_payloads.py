"""A stack that encrypts payloads: what Temporal keeps of it, and who sees it in Temporal's Web UI."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from examples.site.accounts import ACCOUNTS
from tests.support.example_auth_sessions import AuthStates
from tests.support.stack import Configured, Stack
from tests.support.webhook_receiver import receiver

PLANTED = "pl4nted"
MESSAGE = "ValueError: the price is missing (api/fail.py:2)"
"""What `fail` of the project `lab` raises."""


@pytest.fixture
def own(configured: Configured) -> Stack:
    return configured.stack


@pytest.fixture
async def page(browser: Browser) -> AsyncIterator[Page]:
    async with await browser.new_page() as page:
        yield page


def found_in_temporal(stack: Stack, *texts: str) -> set[str]:
    """Which of these texts stand in the files of Temporal's database, which holds histories, memos and Schedules."""
    files = [file.read_bytes() for file in stack.data.glob("temporal.db*")]
    return {text for text in texts if any(text.encode() in file for file in files)}


async def test_temporal_keeps_nothing_in_clear_of_what_runs_are_given_and_give(own: Stack) -> None:
    async with receiver() as inbox:
        sink = {"type": "webhook", "url": f"{inbox.url}/{PLANTED}-path", "headers": {"X-Token": f"{PLANTED}-header"}}
        echoed = await own.run("echo", {"value": f"{PLANTED}-value"}, sink=sink)
        assert echoed["result"] == {"value": f"{PLANTED}-value"}
        await inbox.until(1)
    failed = await own.run("fail", {"value": f"{PLANTED}-value"}, retry={"maximumAttempts": 1})
    assert failed["error"] == {
        "code": "api-attempts-failed",
        "category": "execution",
        "message": MESSAGE,
        "retirable": True,
        "details": {
            "attempts_count": 1,
            "last_error": {"code": "script-execution-exception", "category": "execution", "message": MESSAGE},
        },
    }

    await own.until("runs", lambda page: MESSAGE in str(page))
    waiting = await own.start("wait", {"seconds": 300, "value": f"{PLANTED}-value"})
    await own.until_status(waiting, "started")
    assert (await own.cancel(waiting))["status"] == "canceled"
    await _log_in(own)
    await _trigger_a_job(own)
    planted = (f"{PLANTED}-value", f"{PLANTED}-path", f"{PLANTED}-header", MESSAGE, ACCOUNTS["alice"].password)
    assert found_in_temporal(own, *planted, own.workspace) == set()
    assert found_in_temporal(own, "night", "CallboardProject", "callboard-project-lab") != set(), "it is the database"


async def _log_in(own: Stack) -> None:
    logins = AuthStates(own)
    assert (await logins.create("alice", "alice"))["status"] == "done"
    refused = await logins.create("wrong", "alice", parameters=logins.parameters("alice", password=f"{PLANTED}-value"))
    assert "not the password" in refused["message"]
    assert (await logins.run("alice"))["status"] == "completed"


async def _trigger_a_job(own: Stack) -> None:
    payload = [{"apiName": "echo", "parameters": {"value": f"{PLANTED}-value"}}]
    await own.post("jobs", {"id": "night", "payload": payload, "configuration": {}})
    await own.post("jobs/night/trigger")
    await own.until("jobs/night/runs", lambda told: [each["status"] for each in told["jobRuns"]] == ["SUCCESS"])


async def test_the_web_ui_shows_payloads_to_who_is_signed_in(own: Stack, page: Page) -> None:
    run_id = await own.start("fail", {"value": f"{PLANTED}-shown"}, retry={"maximumAttempts": 1})
    assert (await own.result(run_id))["status"] == "failed"
    codec: list[tuple[str, int]] = []
    page.on("response", lambda answer: codec.append(_seen(answer)) if "/codec/" in answer.url else None)
    history = f"{own.dev.temporal.ui_url}/namespaces/default/workflows/{run_id}"

    await page.goto(history)
    await expect(page.locator("#content").get_by_text("Codec Server could not connect")).to_be_visible(timeout=60_000)
    body = await page.locator("body").inner_text()
    assert f"{PLANTED}-shown" not in body
    assert MESSAGE not in body
    assert {status for _, status in codec} == {401}

    await _sign_in(own, page)
    codec.clear()
    await page.goto(history)
    await expect(page.locator("body")).to_contain_text(f"{PLANTED}-shown", timeout=60_000)
    await expect(page.locator("body")).to_contain_text(MESSAGE)
    assert {status for _, status in codec} == {200}


async def test_the_web_ui_sends_the_cookie_to_the_api_on_another_port(own: Stack, page: Page) -> None:
    """Another port of the same host is another origin, but the same site. The UI's settings in the browser say so."""
    run_id = await own.start("echo", {"value": f"{PLANTED}-elsewhere"})
    assert (await own.result(run_id))["status"] == "completed"
    await _sign_in(own, page)
    await page.add_init_script(
        f"""localStorage.setItem("endpoint", JSON.stringify("{own.url}/codec"));
        localStorage.setItem("includeCredentials", "true");
        localStorage.setItem("overrideRemoteCodecConfiguration", "true");"""
    )
    codec: list[tuple[str, int]] = []
    page.on("response", lambda answer: codec.append(_seen(answer)) if "/codec/" in answer.url else None)
    await page.goto(f"{own.dev.temporal.ui_url}/namespaces/default/workflows/{run_id}")
    await expect(page.locator("body")).to_contain_text(f"{PLANTED}-elsewhere", timeout=60_000)
    assert {(url.startswith(f"{own.url}/codec/decode"), status) for url, status in codec} == {(True, 200)}


async def _sign_in(own: Stack, page: Page) -> None:
    await page.goto(f"{own.url}/sign-in")
    await page.get_by_label("API key").fill(own.api_key)
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/projects")


def _seen(answer: Any) -> tuple[str, int]:
    return answer.url, answer.status
