"""User code runs in a process of its own: whatever it leaves there, or starts, ends with its Attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from callboard.machines.keeper_process import processes_of
from tests.support.automations import automations
from tests.support.machines import Lab, One, value

PROJECT = automations(
    leaves_tasks="""
        import asyncio
        from intuned_runtime import attempt_store
        kept = []
        async def linger():
            try:
                await asyncio.sleep(600)
            finally:
                attempt_store.set("left", True)
                await asyncio.sleep(0)
        page.on("console", lambda message: kept.append(asyncio.ensure_future(linger())))
        async with page.expect_console_message():
            await page.evaluate("console.log('x')")
        kept.extend(asyncio.create_task(linger()) for _ in range(5))
        await asyncio.sleep(0)
        return "left"
    """,
    leaves_stubborn_tasks="""
        import asyncio
        async def stay():
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass
        asyncio.ensure_future(stay())
        await asyncio.sleep(0)
        return "left"
    """,
    leaves_a_task_that_spins="""
        import asyncio
        async def spin():
            try:
                await asyncio.sleep(600)
            finally:
                while True:
                    pass
        asyncio.ensure_future(spin())
        await asyncio.sleep(0)
        return "left"
    """,
    fine="""
        import threading
        from intuned_runtime import attempt_store
        await page.set_content("<title>fine</title>")
        return [await page.title(), attempt_store.get("left"), threading.active_count()]
    """,
    leaves_idle_threads="""
        import asyncio
        await asyncio.gather(*[asyncio.to_thread(int) for _ in range(5)])
        return "left"
    """,
    leaves_a_busy_to_thread="""
        import asyncio, time
        asyncio.ensure_future(asyncio.to_thread(time.sleep, 600))
        await asyncio.sleep(0.1)
        return "left"
    """,
    leaves_a_fork="""
        import os, time
        if os.fork() == 0:
            time.sleep(600)
        return "left"
    """,
    forks="""
        import asyncio, os
        pid = os.fork()
        if pid == 0:
            match params["then"]:
                case "return": return "child"
                case "raise": raise ValueError("in the child")
                case "await": await asyncio.sleep(600)
                case "browse": await page.title()
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """,
    leaves_a_browser="""
        from playwright.async_api import async_playwright
        playwright = await async_playwright().start()
        await playwright.chromium.launch(executable_path=params["browser"], args=params["arguments"])
        return "left"
    """,
)


class Leaving(One):
    """One Attempt that leaves something, and one after it."""

    @asynccontextmanager
    async def then_fine_on(self, nth: int) -> AsyncGenerator[None]:
        """After the block, the next Attempt succeeds, on the nth Machine of this turn."""
        yield
        report = await self.run("fine")
        assert value(report)[:2] == ["fine", None]
        assert self.nth(report) == nth


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab) -> Leaving:
    return Leaving(shared_lab, PROJECT)


@pytest.fixture
async def leaving(shared: Leaving) -> AsyncIterator[Leaving]:
    async with shared.turn():
        yield shared


LEAVING = (
    *("leaves_tasks", "leaves_idle_threads", "leaves_stubborn_tasks", "leaves_a_task_that_spins"),
    *("leaves_a_busy_to_thread", "leaves_a_fork"),
)


@pytest.mark.parametrize("api", LEAVING)
async def test_nothing_that_is_left_reaches_the_next_attempt_on_the_same_machine(leaving: Leaving, api: str) -> None:
    async with leaving.then_fine_on(1):
        assert value(await leaving.run(api)) == "left"
        await leaving.assert_nothing_left()


@pytest.mark.parametrize("then", ["return", "raise", "await", "browse"])
async def test_a_fork_that_comes_back_from_user_code_is_ended(leaving: Leaving, then: str) -> None:
    async with leaving.then_fine_on(1):
        assert value(await leaving.run("forks", {"then": then})) == 1


async def test_a_browser_of_user_code_ends_with_its_attempt(leaving: Leaving) -> None:
    launch = leaving.lab.launch
    given = {"browser": str(launch.browser), "arguments": list(launch.arguments)}
    async with leaving.then_fine_on(1):
        assert value(await leaving.run("leaves_a_browser", given)) == "left"
        await leaving.assert_nothing_left()


async def test_the_scratch_folder_holds_one_attempt_at_a_time(leaving: Leaving) -> None:
    for _ in range(3):
        assert (await leaving.run("fine")).error is None
    await leaving.lab.settled(leaving.pool)
    (machine,) = leaving.lab.scratch.iterdir()
    assert sorted(entry.name for entry in machine.iterdir()) == [
        *("downloads", "driver", "driver-in-box", "driver.sock", "home", "tmp", "traces", "work")
    ]
    assert [entry.name for entry in (machine / "work").iterdir()] == ["attempt"]
    assert list((machine / "home").iterdir()) == []
    assert processes_of(machine)
