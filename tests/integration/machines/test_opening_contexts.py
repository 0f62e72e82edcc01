"""Contexts whose opening was under way when an Attempt ended: none is there for a next one, however it ended."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.automations import automations
from tests.support.machines import Lab, One, value
from tests.support.polling import until

OPENS = """
import asyncio, os, time
from pathlib import Path

LOGIN = {"name": "login", "value": "hers", "domain": "shop.test", "path": "/", "expires": -1, "httpOnly": True,
         "secure": False, "sameSite": "Lax"}

async def automation(page, params):
    async def opens():
        context = await page.context.browser.new_context(storage_state={"cookies": [LOGIN], "origins": []})
        while params["ends"] == "awaits":  # so that there are as many on their way at any time
            await context.close()
            context = await page.context.browser.new_context(storage_state={"cookies": [LOGIN], "origins": []})

    opening = [asyncio.ensure_future(opens()) for _ in range(params["contexts"])]
    await page.title()  # they have been asked for, and are not there yet
    Path(params["note"]).touch()
    match params["ends"]:
        case "opened":
            await asyncio.gather(*opening)
        case "aborted":
            for context in opening:
                context.cancel()
            await asyncio.wait(opening)
        case "raises":
            raise ValueError("no more")
        case "exits":
            os._exit(3)
        case "is killed":
            os.kill(os.getpid(), 9)
        case "awaits":
            await asyncio.sleep(600)
        case "blocks":
            time.sleep(600)
"""

PROJECT = {
    **automations(
        fine='return "fine"',
        sees="""
            contexts = page.context.browser.contexts
            cookies = [cookie["value"] for context in contexts for cookie in await context.cookies()]
            session = await page.context.browser.new_browser_cdp_session()
            of_browser = (await session.send("Target.getBrowserContexts"))["browserContextIds"]
            return [len(contexts), len(of_browser), cookies]
        """,
        looks="return len(page.context.browser.contexts)",
    ),
    "api/opens.py": OPENS,
}
MANY = 200


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab) -> One:
    return One(shared_lab, PROJECT)


@pytest.fixture
async def one(shared: One) -> AsyncIterator[One]:
    async with shared.turn():
        yield shared


@pytest.mark.parametrize("ends", ["returns", "aborted", "raises", "exits", "is killed", "awaits", "blocks"])
async def test_no_context_whose_opening_was_under_way_outlives_its_attempt(one: One, ends: str, tmp_path: Path) -> None:
    await one.works_again()
    limit = {"timeout": 1.0} if ends in {"awaits", "blocks"} else {}
    await one.run("opens", {"contexts": MANY, "ends": ends, "note": str(tmp_path / "note")}, **limit)
    assert value(await one.run("sees")) == [1, 1, []]


@pytest.mark.parametrize("ends", ["awaits", "blocks"])
async def test_nor_does_it_outlive_one_that_is_canceled(one: One, ends: str, tmp_path: Path) -> None:
    await one.works_again()
    attempt = one.start("opens", {"contexts": MANY, "ends": ends, "note": str(tmp_path / "note")})
    await until((tmp_path / "note").exists)
    attempt.cancel()
    await asyncio.wait({attempt})
    assert value(await one.run("sees")) == [1, 1, []]


async def test_nor_does_an_attempt_of_another_version_see_it(lab: Lab, tmp_path: Path) -> None:
    pool = lab.pool()
    first, second = (lab.version({**PROJECT, "version.txt": name}) for name in ("first", "second"))
    await lab.runner(first, pool)("opens", {"contexts": MANY, "ends": "returns", "note": str(tmp_path / "note")})
    assert value(await lab.runner(second, pool)("sees")) == [1, 1, []]


@pytest.mark.parametrize("ends", ["opened", "returns", "aborted", "is killed"])
async def test_its_machine_is_used_again(one: One, ends: str, tmp_path: Path) -> None:
    await one.works_again(1)
    await one.run("opens", {"contexts": 5, "ends": ends, "note": str(tmp_path / "note")})
    await one.works_again(1)
    assert value(await one.run("looks")) == 1
