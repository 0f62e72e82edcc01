"""User code runs in a process of its own: whatever it leaves there, or starts, ends with its Attempt."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import pytest

from machines.scratch_cleanup import processes_of
from tests.support.machines import Lab, settled, value
from tests.support.single_machine_pool import One

PROJECT = {
    "api/fine.py": """
        import os, signal, threading, urllib.request
        from intuned_runtime import attempt_store

        async def automation(page):
            assert urllib.request._opener is None
            assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)
            await page.set_content("<title>fine</title>")
            return [await page.title(), attempt_store.get("left"), threading.active_count()]
    """,
    "api/leaves_tasks.py": """
        import asyncio
        from intuned_runtime import attempt_store

        kept = []

        async def linger():
            try:
                await asyncio.sleep(600)
            finally:
                attempt_store.set("left", True)
                await asyncio.sleep(0)

        async def automation(page):
            page.on("console", lambda message: kept.append(asyncio.ensure_future(linger())))
            async with page.expect_console_message():
                await page.evaluate("console.log('x')")
            kept.extend(asyncio.create_task(linger()) for _ in range(5))
            await asyncio.sleep(0)
            return "left"
    """,
    "api/leaves_idle_threads.py": """
        import asyncio

        async def automation(page):
            await asyncio.gather(*[asyncio.to_thread(int) for _ in range(5)])
            return "left"
    """,
    "api/leaves_a_generator.py": """
        async def forever():
            try:
                while True:
                    yield 1
            finally:
                pass

        async def automation(page):
            async for n in forever():
                return "left"
    """,
    "api/leaves_stubborn_tasks.py": """
        import asyncio

        async def stay():
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass

        async def automation(page):
            asyncio.ensure_future(stay())
            await asyncio.sleep(0)
            return "left"
    """,
    "api/leaves_a_task_that_spins.py": """
        import asyncio

        async def spin():
            try:
                await asyncio.sleep(600)
            finally:
                while True:
                    pass

        async def automation(page):
            asyncio.ensure_future(spin())
            await asyncio.sleep(0)
            return "left"
    """,
    "api/leaves_a_thread.py": """
        import threading, time

        async def automation(page):
            threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
            return "left"
    """,
    "api/leaves_a_busy_to_thread.py": """
        import asyncio, time

        async def automation(page):
            asyncio.ensure_future(asyncio.to_thread(time.sleep, 600))
            await asyncio.sleep(0.1)
            return "left"
    """,
    "api/leaves_a_process.py": """
        import subprocess

        async def automation(page):
            subprocess.Popen(["sleep", "600"])
            return "left"
    """,
    "api/leaves_a_timer.py": """
        import signal

        async def automation(page):
            signal.setitimer(signal.ITIMER_REAL, 0.05, 0.05)
            signal.signal(signal.SIGALRM, lambda *_: None)
            return "left"
    """,
    "api/leaves_a_cookie_jar.py": """
        import http.cookiejar, urllib.request

        async def automation(page):
            jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
            urllib.request.install_opener(urllib.request.build_opener(jar))
            return "left"
    """,
    "api/leaves_patches.py": """
        import builtins, playwright.async_api, threading

        async def automation(page):
            builtins.print = playwright.async_api.Page.title = threading.active_count = None
            return "left"
    """,
    "api/leaves_a_fork.py": """
        import os, time

        async def automation(page):
            if os.fork() == 0:
                time.sleep(600)
            return "left"
    """,
    "api/forks.py": """
        import asyncio, os

        async def automation(page, params):
            pid = os.fork()
            if pid == 0:
                match params["then"]:
                    case "return": return "child"
                    case "raise": raise ValueError("in the child")
                    case "await": await asyncio.sleep(600)
                    case "browse": await page.title()
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    """,
    "api/leaves_detached_grandchildren.py": """
        import os, signal, time

        def detach():
            if os.fork() == 0:
                os.setsid()
                if os.fork() == 0:
                    for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                        signal.signal(number, signal.SIG_IGN)
                    os.execve("/bin/sleep", ["sleep", "600"], {})
                os._exit(0)

        async def automation(page, params):
            for _ in range(3):
                detach()
            os.wait()
            match params["then"]:
                case "return": return "left"
                case "hang": await page.wait_for_event("close", timeout=0)
                case "exit": os._exit(3)
    """,
    "api/leaves_a_browser.py": """
        from playwright.async_api import async_playwright

        async def automation(page, params):
            playwright = await async_playwright().start()
            await playwright.chromium.launch(executable_path=params["browser"], args=params["arguments"])
            return "left"
    """,
}


class Leaving(One):
    """One Attempt that leaves something, and one after it."""

    @asynccontextmanager
    async def then_fine_on(self, nth: int) -> AsyncGenerator[None]:
        """After the block, the next Attempt succeeds, on the nth Machine of this turn."""
        yield
        report = await self.run("fine")
        assert value(report)[:2] == ["fine", None]
        assert report.machine == self.name(nth)


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab) -> Leaving:
    return Leaving(shared_lab, PROJECT)


@pytest.fixture
async def leaving(shared: Leaving) -> AsyncIterator[Leaving]:
    async with shared.turn():
        yield shared


@pytest.mark.parametrize(
    "api",
    [
        "leaves_tasks",
        "leaves_idle_threads",
        "leaves_a_generator",
        "leaves_stubborn_tasks",
        "leaves_a_task_that_spins",
        "leaves_a_thread",
        "leaves_a_busy_to_thread",
        "leaves_a_process",
        "leaves_a_fork",
        "leaves_detached_grandchildren",
        "leaves_a_timer",
        "leaves_a_cookie_jar",
        "leaves_patches",
    ],
)
async def test_nothing_that_is_left_reaches_the_next_attempt_on_the_same_machine(leaving: Leaving, api: str) -> None:
    async with leaving.then_fine_on(1):
        assert value(await leaving.run(api, {"then": "return"} if "grandchildren" in api else None)) == "left"
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


@pytest.mark.parametrize("then", ["hang", "exit"])
async def test_detached_grandchildren_end_after_a_failed_attempt(leaving: Leaving, then: str) -> None:
    async with leaving.then_fine_on(1):
        report = await leaving.run("leaves_detached_grandchildren", {"then": then}, timeout=3)
        assert report.error is not None
        await leaving.assert_nothing_left()


async def test_the_scratch_folder_holds_one_attempt_at_a_time(leaving: Leaving) -> None:
    for _ in range(3):
        assert (await leaving.run("fine")).error is None
    await settled(leaving.pool)
    (machine,) = leaving.lab.scratch.iterdir()
    assert sorted(entry.name for entry in machine.iterdir()) == [
        *("downloads", "driver", "driver-in-box", "home", "tmp", "traces", "work")
    ]
    assert [entry.name for entry in (machine / "work").iterdir()] == ["attempt"]
    assert list((machine / "home").iterdir()) == []
    assert processes_of(machine)
