"""A login that a person makes on a Machine: what is reported of it, and that nothing else of the project takes part."""

from __future__ import annotations

import asyncio
import contextlib
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import AsyncMock, MagicMock

import pytest
from playwright.async_api import Error as PlaywrightError
from playwright.async_api import async_playwright

from callboard.machines import keeper
from callboard.machines.attempt_log_file import AttemptLogFile
from callboard.machines.attempt_spec import AttemptReport, EvidenceSpec
from callboard.machines.browser_program import browser_args, find_browser
from callboard.machines.machine_attempt import AnswerRequest
from callboard.machines.runner.browser import Tab
from callboard.machines.runner.record import record as recorded
from callboard.schemas.workflow.attempt import AttemptKind
from tests.support.automations import automations
from tests.support.machines import PATIENCE, ZYGOTE, Lab, Run, find_process, value
from tests.support.recording_site import running_site

PROJECT = automations(unused="raise RuntimeError('nobody calls this')")
DONE = {"status": "completed", "values": {}, "reason": None}
NO = {"status": "declined", "values": {}, "reason": "Not my account."}


class Person:
    """Who is asked, and answers so."""

    def __init__(self, end: dict[str, Any]) -> None:
        self.asked: list[str] = []
        self._end = end

    async def answer(self, operation: str, arguments: dict[str, Any]) -> str:
        assert operation == "hand_over"
        self.asked.append(arguments["instructions"])
        return json.dumps(self._end)


async def record(run: Run, start_url: str, answer: AnswerRequest, folder: Path, **fields: Any) -> AttemptReport:
    return await run(
        "",
        {"startUrl": start_url},
        kind=AttemptKind.RECORD,
        run_info={"auth_session_id": "anna"},
        evidence=EvidenceSpec(folder, downloads=False),
        answer_request=answer,
        **fields,
    )


async def test_the_login_of_a_person_is_reported_and_nothing_tells_of_its_pages(
    quiet: Run, quiet_lab: Lab, tmp_path: Path
) -> None:
    async def answer(operation: str, arguments: dict[str, Any]) -> str:
        (slot,) = quiet_lab.pools[0].slots
        assert slot.machine
        assert keeper.descendants(find_process(slot.machine.keeper_pid, ZYGOTE)) == [], (
            "no code of the project is left that could look on"
        )
        return await person.answer(operation, arguments)

    person = Person(DONE)
    async with running_site() as site:
        address = f"{site.origin}/login?cookie=sid=7"
        with contextlib.closing(AttemptLogFile(tmp_path / "log", 100_000)) as log:
            report = await record(quiet, address, answer, tmp_path, log=log)
            assert await log.wait_complete(PATIENCE) is not None
    assert (site.requests, person.asked) == (
        ["/login?cookie=sid=7"],
        [f"Log in for AuthSession anna, from {address} on. Then press Done."],
    )
    assert value(report) == {"status": "completed", "reason": None}
    assert [each["value"] for each in json.loads(report.storage_state or "null")["cookies"]] == ["7"]
    assert "The page is at" not in (tmp_path / "log").read_text()
    assert [file.name for file in tmp_path.iterdir()] == ["log"]


async def test_without_a_login_it_is_said_how_that_came(quiet: Run, tmp_path: Path) -> None:
    person = Person(NO)
    async with running_site() as site:
        report = await record(quiet, site.origin, person.answer, tmp_path)
    assert (value(report), report.storage_state) == ({"status": "declined", "reason": "Not my account."}, None)
    report = await record(quiet, site.origin, person.answer, tmp_path)  # it does not listen any more
    assert value(report) == {
        "status": "failed",
        "reason": f"The start address could not be opened: net::ERR_CONNECTION_REFUSED at {site.origin}/.",
    }
    assert len(person.asked) == 1, "nobody is asked where there is nothing to see"


async def test_a_record_that_is_stopped_leaves_no_picture_of_its_page(quiet: Run, tmp_path: Path) -> None:
    asked = asyncio.Event()

    async def answer(_operation: str, _arguments: dict[str, Any]) -> str:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    async with running_site() as site:
        recording = asyncio.create_task(record(quiet, site.origin, answer, tmp_path))
        await asked.wait()
        recording.cancel()
        with pytest.raises(asyncio.CancelledError):
            await recording
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("ends", ["browser", "page", "crash"])
async def test_the_end_of_the_browser_ends_a_record_at_once(ends: str) -> None:
    asked = asyncio.Event()

    async def ask(*_kind: str, **_arguments: Any) -> dict[str, Any]:
        asked.set()
        return await asyncio.get_running_loop().create_future()

    nothing = cast("Any", SimpleNamespace(ask=ask, begin=AsyncMock(), showing=MagicMock()))
    spec = {"parameters": json.dumps({"startUrl": "about:blank"}), "runInfo": {"auth_session_id": "anna"}}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=find_browser(None), args=browser_args())
        page = await (await browser.new_context()).new_page()
        recording = asyncio.create_task(recorded(spec, Tab(page.context, page), nothing, nothing, nothing))
        await asked.wait()
        popup = await page.context.new_page()
        await popup.close()
        assert not recording.done(), "there is another page"
        if ends == "crash":
            with contextlib.suppress(PlaywrightError):
                await page.goto("chrome://crash", timeout=1)
        else:
            await (browser if ends == "browser" else page).close()
        result = json.loads((await recording)["result"])
        assert (result["status"], result["reason"].partition(",")[0]) == ("failed", "The browser has ended")
        await browser.close()
