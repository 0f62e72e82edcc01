"""Attempts that time out or lose their process: nothing of them is left, and the Machine survives if it can."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import pytest

from callboard.machines.box import box_refusal
from callboard.machines.machine import NotBegunError
from callboard.schemas.workflow.run import ErrorCode
from tests.support.automations import automations
from tests.support.machines import (
    BROWSER,
    ENDLESS,
    ENDLESS_IN_TYPESCRIPT,
    KEEPER,
    NODE,
    SUPERVISOR,
    USER,
    ZYGOTE,
    Failure,
    Lab,
    Language,
    One,
    attempt_of,
    failure,
    find_process,
    kill,
    value,
)
from tests.support.polling import until
from tests.support.typescript import handlers

PROJECT = {
    **automations(
        exits_in_a_task="""
            import asyncio, sys
            async def leave():
                sys.exit(7)
            task = asyncio.ensure_future(leave())
            await asyncio.sleep(600)
        """,
        fine="""
            await page.set_content("<title>fine</title>")
            return await page.title()
        """,
        holds_the_interpreter="import ctypes; ctypes.PyDLL(None).sleep(600)",
        will_not_be_canceled="""
            import asyncio
            while True:
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    pass
        """,
        ignores_signals="""
            import signal, time
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            time.sleep(600)
        """,
        stops_itself="import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        stops_everything_around_it="""
            import os, signal
            from pathlib import Path
            for entry in Path("/proc").iterdir():
                if entry.name.isdigit() and int(entry.name) != os.getpid():
                    try:
                        os.kill(int(entry.name), signal.SIGSTOP)
                    except OSError:
                        pass
            while True:
                await page.title()
        """,
        spins_in_the_page='await page.evaluate("while (true) {}")',
        exits="import os; os._exit(3)",
        aborts="import os; os.abort()",
        exits_well="import os; os._exit(0)",
        kills_itself="import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        kills_itself_in_real_time="import os, signal; os.kill(os.getpid(), signal.SIGRTMIN + 3)",
        hogs="""
            hoard = []
            while True:
                hoard.append(bytearray(b"x" * 2**20))
        """,
        hogs_in_a_child="""
            import asyncio, sys
            code = "hoard = []\\nwhile True: hoard.append(bytearray(b'x' * 2**20))"
            process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
            return await process.wait()
        """,
        hogs_in_the_page="""
            await page.evaluate("const hoard = []; while (true) hoard.push(new Uint8Array(2 ** 20).fill(1))")
        """,
        waits_and_browses="""
            while True:
                await page.evaluate("new Promise(done => setTimeout(done, 50))")
        """,
        closes_the_browser="""
            await page.context.browser.close()
            return await page.title()
        """,
        does_not_care_for_its_page="""
            import asyncio
            await page.context.browser.close()
            return "done"
        """,
        loses_its_socket="""
            import asyncio, os
            os.closerange(3, 1000)
            await asyncio.sleep(600)
        """,
        writes_into_our_socket="""
            import asyncio, os, stat
            for fd in range(3, 50):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        os.write(fd, b"\\xff\\xff\\xff\\xff nonsense")
                        os.write(fd, b"\\x00\\x00\\x00\\x03[[[")
                except OSError:
                    pass
            await asyncio.sleep(600)
        """,
    ),
    **ENDLESS,
    "api/blocks_at_import.py": "import time; time.sleep(600)",
}
TYPESCRIPT = {
    **handlers(
        fine="""
            await page.setContent("<title>fine</title>");
            return await page.title();
        """,
        will_not_be_canceled="""
            while (true) {
                try { await page.waitForEvent("close", { timeout: 0 }); }
                catch { await new Promise((resolve) => setTimeout(resolve, 1)); }
            }
        """,
        stops_itself="process.kill(process.pid, 'SIGSTOP')",
        exits="process.reallyExit(3)",
        kills_itself="process.kill(process.pid, 'SIGKILL'); await new Promise(() => {});",
        kills_itself_in_real_time="process.kill(process.pid, 37); await new Promise(() => {});",
        hogs="""
            const hoard = [];
            while (true) {
                hoard.push(Buffer.alloc(2 ** 20, "x"));
                await new Promise((resolve) => setImmediate(resolve));
            }
        """,
        closes_the_browser="""
            await page.context().browser().close();
            return await page.title();
        """,
        does_not_care_for_its_page="""
            await page.context().browser().close();
            return "done";
        """,
        writes_into_our_socket="""
            const fs = require("fs");
            for (let fd = 3; fd < 50; fd++) {
                try {
                    if (!fs.fstatSync(fd).isSocket()) continue;
                    fs.writeSync(fd, Buffer.from([0xff, 0xff, 0xff, 0xff]));
                    fs.writeSync(fd, Buffer.from([0, 0, 0, 3, 0x5b, 0x5b, 0x5b]));
                } catch {}
            }
            await new Promise(() => {});
        """,
    ),
    **ENDLESS_IN_TYPESCRIPT,
}


LOST = "The process of user code has lost its connection to the Machine, and was ended."


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
async def shared(shared_lab: Lab, project: dict[str, str], language: Language) -> AsyncIterator[Ending]:
    ending = Ending(shared_lab, project, project=language, memory_limit=700 * 1024**2)
    yield ending
    await ending.cool()  # what is left of a test is looked for in the whole lab


@pytest.fixture
async def one(shared: Ending, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Ending]:
    monkeypatch.setattr("callboard.machines.machine._STOP_WITHIN", 0.5)  # those that do not react are many here
    async with shared.turn():
        yield shared


@pytest.mark.both_languages
@pytest.mark.parametrize("api", ["awaits", "spins", "blocks", "will_not_be_canceled", "stops_itself"])
async def test_an_attempt_that_does_not_end_times_out(one: Ending, api: str) -> None:
    await times_out(one, api)


@pytest.mark.parametrize(
    "api",
    [
        "blocks_at_import",
        "holds_the_interpreter",
        "ignores_signals",
        "stops_everything_around_it",
        "spins_in_the_page",
    ],
)
async def test_one_that_resists_times_out_too(one: Ending, api: str) -> None:
    await times_out(one, api)


async def times_out(one: Ending, api: str) -> None:
    failed = await one.fails(api, timeout=0.5)
    assert failed.code == ErrorCode.SCRIPT_TIMEOUT
    assert failed.error.category == "execution"
    assert failed.message.startswith("The Attempt did not end within 0.5 seconds")
    assert not failed.final
    await one.works_again(1)


LOST_OR_ENDED = [
    ("exits", "Process exited unexpectedly with code 3."),
    ("kills_itself", "Process was ended by signal SIGKILL."),
    ("kills_itself_in_real_time", "Process was ended by signal 37."),
    ("writes_into_our_socket", LOST),
]


@pytest.mark.both_languages
@pytest.mark.parametrize(("api", "message"), LOST_OR_ENDED)
async def test_a_process_that_ends_or_cannot_be_understood_is_a_crash(one: Ending, api: str, message: str) -> None:
    await crashes(one, api, message)


@pytest.mark.parametrize(
    ("api", "message"),
    [
        ("exits_well", "Process exited unexpectedly with code 0."),
        ("aborts", "Process was ended by signal SIGABRT; it stood at api/aborts.py:2 (`import os; os.abort()`)."),
        ("exits_in_a_task", "Process exited unexpectedly with code 7."),
        ("loses_its_socket", "Process exited unexpectedly with code 1."),
    ],
)
async def test_one_that_ends_in_another_way_is_a_crash_too(one: Ending, api: str, message: str) -> None:
    await crashes(one, api, message)


async def crashes(one: Ending, api: str, message: str) -> None:
    failed = await one.fails(api)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.error.category == "infrastructure"
    assert failed.message == message
    assert not failed.final
    await one.works_again(1)


@pytest.mark.both_languages
async def test_a_machine_that_takes_too_much_memory_is_ended(one: Ending) -> None:
    await runs_out_of_memory(one, "hogs")


@pytest.mark.parametrize("api", ["hogs_in_a_child", "hogs_in_the_page"])
async def test_so_is_one_whose_other_processes_do(one: Ending, api: str) -> None:
    await runs_out_of_memory(one, api)


async def runs_out_of_memory(one: Ending, api: str) -> None:
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


KILLED = "Process was ended by signal SIGKILL."


@pytest.mark.both_languages
async def test_a_process_of_user_code_killed_under_an_attempt_is_a_crash(one: Ending) -> None:
    assert (await one.loses("awaits", USER)).message == KILLED
    await one.works_again(1)


@pytest.mark.parametrize(
    ("api", "victim", "nth", "message"),
    [
        ("awaits", SUPERVISOR, 2, KILLED),
        ("spins", ZYGOTE, 2, LOST),
        ("spins", KEEPER, 2, "The Machine's process was lost."),
    ],
)
async def test_a_process_killed_under_an_attempt_is_a_crash_and_leaves_no_other(
    one: Ending, api: str, victim: str, nth: int, message: str
) -> None:
    if victim == ZYGOTE and box_refusal() is not None:
        pytest.skip(f"There are no boxes here, so that the process of user code would go on: {box_refusal()}.")
    failed = await one.loses(api, victim)
    assert failed.code == ErrorCode.SCRIPT_PROCESS_CRASHED
    assert failed.message == message
    await one.works_again(nth)


@pytest.mark.both_languages
async def test_user_code_may_close_the_browser_which_ends_for_it_alone(one: Ending) -> None:
    failed = failure(await one.run("closes_the_browser"))
    assert failed.code == ErrorCode.SCRIPT_EXECUTION_EXCEPTION, "its own doing is no crash"
    assert value(await one.run("does_not_care_for_its_page")) == "done"
    await one.works_again(1)


@pytest.mark.both_languages
@pytest.mark.parametrize("victim", [ZYGOTE, USER])
async def test_what_is_killed_of_user_code_while_idle_fails_no_attempt(one: Ending, victim: str) -> None:
    await one.works_again(1)
    await one.machine.wait_clean()
    await kill(one.process(victim))
    await one.works_again(2)


@pytest.mark.parametrize("victim", [BROWSER, NODE, SUPERVISOR, KEEPER])
async def test_what_is_killed_while_idle_fails_no_attempt(one: Ending, victim: str) -> None:
    await one.works_again(1)
    await one.machine.wait_clean()
    await kill(one.process(victim))
    if victim in {SUPERVISOR, KEEPER}:
        await until(lambda: one.warm is None)  # the pool hears of it by itself
    await one.works_again(2)


async def test_a_lost_browser_is_reported_before_user_code_is_called(lab: Lab) -> None:
    machine = await lab.machine(lab.version(PROJECT))
    os.kill(find_process(machine.keeper_pid, BROWSER), signal.SIGKILL)
    attempt = attempt_of("fine")
    with pytest.raises(NotBegunError, match="lab-1 was lost: no fresh context"):
        await machine.run_attempt(attempt)
    assert attempt.start is None
    lab.assert_clean()
