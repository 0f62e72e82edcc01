"""Attempts that time out or lose their process: nothing of them is left, and the Machine survives if it can."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from machines.box import box_refusal
from machines.machine import AttemptStart, NotBegunError
from schemas.workflow.run import ErrorCode
from tests.support.machine_processes import BROWSER, KEEPER, NODE, SUPERVISOR, USER, ZYGOTE, find_process, kill
from tests.support.machines import PATIENCE, Failure, Lab, attempt_spec, failure, value
from tests.support.single_machine_pool import ENDLESS, One

PROJECT = {
    **ENDLESS,
    "api/fine.py": """
        async def automation(page):
            await page.set_content("<title>fine</title>")
            return await page.title()
    """,
    "api/blocks_at_import.py": "import time; time.sleep(600)",
    "api/holds_the_interpreter.py": """
        import ctypes

        async def automation(page):
            ctypes.PyDLL(None).sleep(600)
    """,
    "api/will_not_be_canceled.py": """
        import asyncio

        async def automation(page):
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass
    """,
    "api/ignores_signals.py": """
        import signal, time

        async def automation(page):
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            time.sleep(600)
    """,
    "api/stops_itself.py": """
        import os, signal

        async def automation(page):
            os.kill(os.getpid(), signal.SIGSTOP)
    """,
    "api/stops_everything_around_it.py": """
        import os, signal
        from pathlib import Path

        async def automation(page):
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        os.kill(int(entry.name), signal.SIGSTOP)
                    except OSError:
                        pass
            while True:
                await page.title()
    """,
    "api/spins_in_the_page.py": """
        async def automation(page):
            await page.evaluate("while (true) {}")
    """,
    "api/prints_without_end.py": """
        import os

        async def automation(page):
            while True:
                print("x" * 10_000, flush=True)
                os.write(2, b"y" * 10_000)
    """,
    "api/prints.py": """
        import os, sys

        async def automation(page):
            for _ in range(2_000):
                print("\\udc80 x" * 1_000)
            os.write(1, b"\\xff\\x00" * 100_000)
            sys.stdout.close()
            os.close(1)
            os.close(2)
            return "printed"
    """,
    "api/exits.py": """
        import os

        async def automation(page):
            os._exit(3)
    """,
    "api/exits_well.py": """
        import os

        async def automation(page):
            os._exit(0)
    """,
    "api/kills_itself.py": """
        import os, signal

        async def automation(page):
            os.kill(os.getpid(), signal.SIGKILL)
    """,
    "api/kills_itself_in_real_time.py": """
        import os, signal

        async def automation(page):
            os.kill(os.getpid(), signal.SIGRTMIN + 3)
    """,
    "api/aborts.py": """
        import os

        async def automation(page):
            os.abort()
    """,
    "api/exits_in_a_task.py": """
        import asyncio, sys

        async def leave():
            sys.exit(7)

        async def automation(page):
            task = asyncio.ensure_future(leave())
            await asyncio.sleep(600)
    """,
    "api/hogs.py": """
        async def automation(page):
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 2**20))
    """,
    "api/hogs_in_a_child.py": """
        import asyncio, sys

        async def automation(page):
            code = "hoard = []\\nwhile True: hoard.append(bytearray(b'x' * 2**20))"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            return await process.wait()
    """,
    "api/hogs_in_the_page.py": """
        async def automation(page):
            await page.evaluate("const hoard = []; while (true) hoard.push(new Uint8Array(2 ** 20).fill(1))")
    """,
    "api/waits_and_browses.py": """
        async def automation(page):
            while True:
                await page.evaluate("new Promise(done => setTimeout(done, 50))")
    """,
    "api/closes_the_browser.py": """
        async def automation(page):
            await page.context.browser.close()
            return await page.title()
    """,
    "api/does_not_care_for_its_page.py": """
        import asyncio

        async def automation(page):
            await page.context.browser.close()
            return "done"
    """,
    "api/loses_its_socket.py": """
        import asyncio, os

        async def automation(page):
            os.closerange(3, 1000)
            await asyncio.sleep(600)
    """,
    "api/writes_into_our_socket.py": """
        import asyncio, os, stat

        async def automation(page):
            for fd in range(3, 50):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, b"\\xff\\xff\\xff\\xff nonsense")
                        os.write(fd, b"\\x00\\x00\\x00\\x03[[[")
                except OSError:
                    pass
            await asyncio.sleep(600)
    """,
}


class Ending(One):
    """How Attempts end, and what is left of their Machine then."""

    async def fails(self, api: str, **fields: Any) -> Failure:
        """The Attempt fails, and leaves nothing."""
        report = await self.run(api, **fields)
        await self.assert_nothing_left()
        return failure(report)

    async def loses(self, api: str, kill: str) -> Failure:
        """The Attempt fails after the process whose command line holds `kill` was killed."""
        attempt = self.start(api)
        await self.begun()
        os.kill(self.process(kill), signal.SIGKILL)
        report = await attempt
        await self.assert_nothing_left()
        return failure(report)

    def process(self, command: str) -> int:
        """The process of the Machine whose command line holds this."""
        return find_process(self.machine.keeper_pid, command)


@pytest.fixture(scope="module")
async def shared(shared_lab: Lab) -> Ending:
    return Ending(shared_lab, PROJECT, memory_limit=700 * 1024**2)


@pytest.fixture
async def one(shared: Ending, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ending]:
    monkeypatch.setattr("machines.machine._STOP_WITHIN", 0.5)  # those that do not react are many here
    async with shared.turn():
        yield shared


@pytest.mark.parametrize(
    "api",
    [
        "awaits",
        "spins",
        "blocks",
        "blocks_at_import",
        "holds_the_interpreter",
        "will_not_be_canceled",
        "ignores_signals",
        "stops_itself",
        "stops_everything_around_it",
        "spins_in_the_page",
        "prints_without_end",
    ],
)
async def test_an_attempt_that_does_not_end_times_out(one: Ending, api: str) -> None:
    failed = await one.fails(api, timeout=0.5)
    assert failed.code == ErrorCode.SCRIPT_TIMEOUT
    assert failed.error.category == "execution"
    assert failed.message.startswith("The Attempt did not end within 0.5 seconds")
    assert not failed.final
    await one.works_again(1)


async def test_what_is_printed_fills_no_pipe(one: Ending) -> None:
    assert value(await one.run("prints")) == "printed"
    await one.works_again(1)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("exits", "Process exited unexpectedly with code 3."),
        ("exits_well", "Process exited unexpectedly with code 0."),
        ("kills_itself", "Process was ended by signal SIGKILL."),
        ("kills_itself_in_real_time", "Process was ended by signal 37."),
        ("aborts", "Process was ended by signal SIGABRT; it stood at api/aborts.py:5 (`os.abort()`)."),
        ("exits_in_a_task", "Process exited unexpectedly with code 7."),
    ],
)
async def test_a_process_that_ends_is_a_crash(one: Ending, api: str, message: str) -> None:
    failed = await one.fails(api)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.error.category == "infrastructure"
    assert failed.message == message
    assert not failed.final
    await one.works_again(1)


@pytest.mark.parametrize("api", ["loses_its_socket", "writes_into_our_socket"])
async def test_a_child_that_cannot_be_understood_is_a_crash(one: Ending, api: str) -> None:
    failed = await one.fails(api)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    await one.works_again(1)


@pytest.mark.parametrize("api", ["hogs", "hogs_in_a_child", "hogs_in_the_page"])
async def test_a_machine_that_takes_too_much_memory_is_ended(one: Ending, api: str) -> None:
    await one.works_again(1)
    failed = await one.fails(api)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.message.startswith("Execution ran out of memory: its Machine used ")
    assert " of 0.684 GiB" in failed.message
    await one.works_again(2)


@pytest.mark.parametrize("victim", [BROWSER, NODE])
async def test_a_browser_killed_under_an_attempt_is_a_crash(one: Ending, victim: str) -> None:
    failed = await one.loses("waits_and_browses", victim)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.message.startswith("The browser ended unexpectedly. The automation saw: ")
    await one.works_again(2)


@pytest.mark.parametrize(("victim", "nth"), [(SUPERVISOR, 2), (USER, 1)])
async def test_a_process_killed_under_an_attempt_is_a_crash(one: Ending, victim: str, nth: int) -> None:
    failed = await one.loses("awaits", victim)
    assert failed.message == "Process was ended by signal SIGKILL."
    await one.works_again(nth)


async def test_a_zygote_killed_under_an_attempt_ends_its_box_which_is_a_crash(one: Ending) -> None:
    if box_refusal() is not None:
        pytest.skip(f"There are no boxes here, so that the process of user code would go on: {box_refusal()}.")
    failed = await one.loses("spins", ZYGOTE)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    await one.works_again(2)


async def test_a_killed_keeper_is_a_crash_and_leaves_no_process(one: Ending) -> None:
    failed = await one.loses("spins", KEEPER)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.message == "The Machine's process was lost."
    await one.works_again(2)


async def test_user_code_may_close_the_browser_which_ends_for_it_alone(one: Ending) -> None:
    failed = failure(await one.run("closes_the_browser"))
    assert failed.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "its own doing is no crash"
    assert value(await one.run("does_not_care_for_its_page")) == "done"
    await one.works_again(1)


@pytest.mark.parametrize("victim", [BROWSER, NODE, SUPERVISOR, ZYGOTE, USER, KEEPER])
async def test_what_is_killed_while_idle_fails_no_attempt(one: Ending, victim: str) -> None:
    await one.works_again(1)
    await one.machine.wait_clean()
    await kill(one.process(victim))
    if victim in {SUPERVISOR, KEEPER}:
        async with asyncio.timeout(PATIENCE):
            while one.warm is not None:  # the pool hears of it by itself
                await asyncio.sleep(0.01)
    await one.works_again(2)


async def test_a_lost_browser_is_reported_before_user_code_is_called(lab: Lab) -> None:
    machine = await lab.machine(lab.version(PROJECT))
    os.kill(find_process(machine.keeper_pid, BROWSER), signal.SIGKILL)
    begun: list[AttemptStart] = []
    with pytest.raises(NotBegunError, match="lab-1 was lost: no fresh context"):
        await machine.run_attempt(attempt_spec("fine"), begun.append)
    assert begun == []
    lab.assert_clean()
